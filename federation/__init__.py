"""Outside the hospitals: the researcher, the aggregators, and what is learned about a model.

Start at `researcher.session` (a researcher logs in) or `aggregator.service` (an aggregator
takes shares). Rooms import along the arrows of tests/test_rooms.py; none imports `datasites`
or `policies` but `local`, which plays a whole federation on one machine. Only
`researcher.syft_client` imports PySyft.
"""
