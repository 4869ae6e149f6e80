"""One aggregator: it takes sealed shares and gives away sums of pieces, nothing else.

Start at `service` (what is put together), then `aggregation` (the rules: which plan, share, set
and sum) and `share_intake`; `grpc_server` is its wire, `storage` its disk, `operator` its process
and commands. May import `transport`, `syft_code`; never the researcher's side.
"""
