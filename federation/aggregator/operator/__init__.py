"""An aggregator as its operator runs it: the process, the admin socket, the commands.

Start at `aggregator_process`. `admin_api` is a Unix socket for the operator's own user,
`commands` the `consilium aggregator` group. May import `aggregator`, `aggregator.storage`,
`transport`, `syft_code`.
"""
