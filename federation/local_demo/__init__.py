"""`consilium demo`: every party played once, on one machine, from raw files to a report.

Like `federation.local`, which starts the parties, it may import `datasites`; only `launch.py` and
tests import it. Start with `demo_command`.
"""
