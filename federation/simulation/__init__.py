"""A federation in memory, of as many hospitals as one likes, through the pieces of the real one.

What a vault computes in a round, how it is bounded, compressed, encoded and shared, how the pieces
are added and opened and how the model moves: all of that is the code that studies run. Left out
are keys, seals, transport, processes, approvals and the ledger. Noise follows from a seed here, so
that an experiment can be repeated, and a reference may go without noise; neither can be asked of a
vault. So: for data that one may look at, never for a hospital's.

Start with `simulation`. May import `evaluation`, `strategy`, `syft_code`.
"""
