"""One round at one hospital: from what a researcher sends to what is shared and what is kept.

`broadcast` is what comes, `client_update` what goes and stays, `control_variates` SCAFFOLD's part,
`continual` the importance of an earlier task's weights. May import all rooms but `evidence` and
`runtime`. Start with `local_round.py`.
"""
