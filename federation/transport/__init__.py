"""How bytes travel outside the hospitals, and survive a broken connection or a power cut.

`aggregator_api` is the gRPC interface that collector and aggregator share, `aggregator_client`
its calling side; `retry`, `growing_file` and `durable_files` serve both. May import `syft_code` only.
"""
