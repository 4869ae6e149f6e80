"""The aggregator: a process of its own, run by a party who runs nothing else.

It takes sealed shares, promises one set of hospitals for each round, and gives away sums of
pieces; `aggregation` holds the rules, `store` and `files` what it must not forget, `rpc` its wire,
`command` its operator's commands. It may import `syft_code` and `federation.transport.aggregator_api`, and nothing
of the researcher's side.
"""
