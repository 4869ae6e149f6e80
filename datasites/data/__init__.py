"""Cohorts: how data sets are read, split, drawn as stand-ins, and written down.

May import datasites' shared files and syft_code.
"""
