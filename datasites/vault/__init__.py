"""The vault: the process that holds the patients, and its training process.

May import datasites' shared files and data, policies and syft_code; never the front desk's.
"""
