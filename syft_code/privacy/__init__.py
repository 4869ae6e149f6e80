"""What a training costs a patient, and where noise comes from.

May import `plans`.
"""
