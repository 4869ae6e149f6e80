"""One hospital's half of a federated algorithm: from what was sent to what is contributed.

Start at `local_round`; `broadcast` unpacks what the researcher sends, `client_update` corrects,
compresses and bounds what comes out. May import the other rooms of `syft_code` but `evidence`, `runtime`.
"""
