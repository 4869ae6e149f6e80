"""A whole federation on one machine: `consilium up` and `lab`, data to try them on, a file's DPIA worksheet.

The one room here that may import `datasites` and `policies`, since it plays hospitals too. Only
`federation.local_demo`, `launch.py`, the walkthroughs and tests import it; no hospital and no aggregator needs it. Start with `commands`.
"""
