"""CSV files as hospitals write them: encodings, delimiters, decimal marks, torn and foreign files.

May import `datasites.data.folders` and `syft_code`.
Start with `csv_table.py`.
"""
