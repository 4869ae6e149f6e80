"""A hospital's vector as shares, their sums, and what keeps one hospital from spoiling a sum.

`vector_layout` says how long each vector is, `compression` what of it travels, `envelope` seals it,
`robust` and `groups` withstand bad sums. May import `plans`, `recipes` and, for the lengths of
evaluations, `metrics`. docs/protocol.md states the protocol. Start with `sharing.py`.
"""
