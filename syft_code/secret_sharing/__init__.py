"""A hospital's vector as shares, their sums, and what keeps one hospital from spoiling a sum.

May import `plans` and, for the lengths of evaluations, `prediction`. docs/protocol.md states it.
"""
