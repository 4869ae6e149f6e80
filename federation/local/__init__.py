"""A whole federation on one machine: `consilium up`, `lab` and `demo`, and data to try them on.

The one room here that may import `datasites` and `policies`, since it plays hospitals too; only
`launch.py` and tests import it. No hospital and no aggregator needs it. Start with `commands`.
"""
