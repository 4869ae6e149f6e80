"""What the front desk keeps on disk: uploads, notes on plans, who owns a ticket, refusals.

No file here holds a patient, and the vault believes none of them: a plan is checked against its
hash, and a decision against its signature. Each file format is small, and bounded in size.
May import `datasites`' own files and `syft_code`.
Start with `blobs.py`: plans, weights and shares on their way.
"""
