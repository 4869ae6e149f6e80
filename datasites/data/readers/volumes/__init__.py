"""Readers of volumes of a scanner: NIfTI files, and which of them make one case.

May import `datasites.data.folders`, `tabular` and `syft_code`.
Start with `brats.py`.
"""
