"""Outside the hospitals: the researcher's client and the aggregators.

May import `syft_code` only. `client.py` is the one file here that imports PySyft.
An aggregator is a process of its own (`python -m federation.aggregator.operator.aggregator_process`), with its own
keys and disk; `collector.py` is how the researcher speaks to it.
"""
