"""Cohorts: a hospital's data set is read, split, drawn as a mock, and written to one file.

`readers` understands the layouts; `train_test_split` holds patients out by keyed hashes;
`cohort_file` is the format that the vault stores. Runs on the owner's machine and in the vault.
`contained_reading` has the readers at work behind walls, `contained_survey` looks at a folder that has no
mapping yet; `cohort_remarks` says what makes a cohort useless. May import `readers`, `sandbox`, `protocol` and
`syft_code`.
Start with `readers/__init__.py`, then `cohort_file.py`.
"""
