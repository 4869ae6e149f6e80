"""Networks from their description, what they say of a slice, and how good that is.

May import `plans`.
"""
