"""Shared mathematics, and the code that travels to a hospital.

Plans, recipes, DP-SGD, accounting, secret sharing, metrics: pure functions on
public dataclasses. Knows no other room and does no I/O; randomness, keys and
patient data come in as arguments only.
"""
