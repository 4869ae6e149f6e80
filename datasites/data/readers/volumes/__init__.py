"""Readers of volumes of a scanner: which files make one case, and the slices that it becomes.

    mapping ─▶ cases (names alone) ─▶ case_volumes (one case) ─▶ slicing ─▶ brats: a Reading

May import `formats`, `datasites.data.folders`, `tabular` and `syft_code`. Start with `brats.py`.
"""
