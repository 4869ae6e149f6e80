"""What a researcher keeps on disk: logins and a signing key, and each study that was submitted.

Start at `kept_studies.KeptStudies`; `credentials` is the one file to begin with. May import `syft_code`.
"""
