"""The child process in which training runs: the place for a sandbox.

`training_worker` is the vault's end: it starts the process and talks to it over two pipes.
`worker_process`, `job_runner` and `job_messages` are the other end, with no key and no database.
May import `data`, `protocol` and `syft_code`; the vault and the owner's mock run import it.
Start with `training_worker.py`.
"""
