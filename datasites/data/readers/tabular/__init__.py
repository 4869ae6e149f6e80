"""Readers of tables of patients: CSV files and the schema that says what their columns mean.

May import `datasites.data.folders` and `syft_code`.
Start with `tables.py`.
"""
