"""The front desk, apart from PySyft: what it lets in, keeps and says.

May import datasites' shared files, policies and syft_code; never the vault's own.
"""
