"""Measurements that take too long for every change: each is one command, and prints its figures.

May import everything, the tests' stand-in parties included; nothing but tests imports it.
"""
