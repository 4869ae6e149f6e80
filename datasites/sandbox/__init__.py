"""A process that holds what it was handed and reaches nothing else: for training, and for reading files.

start here: `template.py` from outside, `inside.py` from inside; `offers.py` says what a machine has.
"""
