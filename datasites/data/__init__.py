"""Cohorts: a hospital's data set is read, split, drawn as a mock, and written to one file.

`readers` understands the layouts; `train_test_split` holds patients out by keyed hashes;
`cohort_file` is the format that the vault stores. Runs on the owner's machine and in the vault.
May import `readers` and `syft_code`, and nothing else of `datasites`.
Start with `readers/__init__.py`, then `cohort_file.py`.
"""
