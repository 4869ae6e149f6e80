"""Training, in contained processes of the vault: one for each job.

`training_worker` is the vault's end: it has workers made ahead, hands each its job and the cohort.
`job_runner` and `job_messages` are the other end, with no key and no database; `warm_up` comes first.
May import `sandbox`, `data`, `protocol` and `syft_code`; the vault and the owner's mock run import it.
Start with `training_worker.py`.
"""
