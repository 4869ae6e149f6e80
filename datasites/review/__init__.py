"""What an owner looks at before deciding: evidence, mock run, policy and ledger, as cards.

Each card shows itself in a notebook, as text at a terminal, and as JSON. Nothing here signs,
decides or reaches a patient: a mock run trains on the public mock, in a process of its own.
May import `data`, `desk`, `protocol`, `vault` and its `worker`, `policies` and `syft_code`.
Start with `evidence.py`.
"""
