"""Data and hospitals to try things out on: stand-ins, splits of one data set, a demo's hospitals.

No real hospital needs or ships this room. May import `datasites`, `policies` and `syft_code`.
Start with `demo_hospitals`.
"""
