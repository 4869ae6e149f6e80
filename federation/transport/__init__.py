"""How bytes travel outside the hospitals, and survive a broken connection or a power cut.

`aggregator_api` is the gRPC interface that collector and aggregator share, `aggregator_client`
its calling side; `retry` and `growing_file` serve both. Start with `aggregator_api`. May import
`syft_code` only.
"""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what went wrong is told in a sentence of ours
