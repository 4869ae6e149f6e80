"""What a training costs a patient, and where noise comes from.

Start at `accounting`: events are inert data, an accountant interprets them. May import `plans`.
"""
