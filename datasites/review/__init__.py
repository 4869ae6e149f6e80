"""What an owner looks at before deciding: evidence, mock run, account.

May import whatever the owner may; decides and signs nothing itself.
"""
