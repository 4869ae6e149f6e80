"""The training process as the vault starts it: `python -m datasites.vault.worker.worker_process VAULT_PID`.

`job_runner` imports torch, which takes seconds. A vault that is killed in them must leave
nothing behind, so what ends this process with its vault comes before that import.
"""

import importlib
import sys

from syft_code.runtime.parent_exit import end_with_parent


def main(vault_pid: int) -> None:
    """End with the vault from now on, then run its jobs."""
    end_with_parent(vault_pid)
    importlib.import_module("datasites.vault.worker.job_runner").main()


if __name__ == "__main__":
    main(int(sys.argv[1]))
