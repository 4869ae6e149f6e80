"""A host between researchers and hospitals that allow no inbound connection: it carries ciphertext.

researcher ── TCP ──▶ relay ◀── TLS, outward ── hospital
     └────────── TLS with the hospital's own certificate ──────────┘

Who runs it needs none of the rest. Start with `relay_server`. May import `syft_code`.
"""
