"""A hospital's vector as shares, their sums, and what keeps one hospital from spoiling a sum.

Start at `sharing` (mathematics only), then `envelope` (one share on its way); docs/protocol.md states
the protocol. May import `metrics`, `plans`, `recipes`.
"""
