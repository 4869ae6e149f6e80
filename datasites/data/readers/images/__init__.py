"""Readers of folders of pictures: tables that name pictures, and the pictures.

May import `datasites.data.folders`, `tabular` and `syft_code`.
Start with `ham10000.py`.
"""
