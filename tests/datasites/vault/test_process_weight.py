"""A vault at rest is light: it knows neither torch nor PySyft."""

import subprocess
import sys
from pathlib import Path


def test_the_vaults_process_imports_neither_torch_nor_pysyft() -> None:
    code = "import sys, datasites.vault.vault_process; print({'torch', 'syft'} & set(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert told.stdout == "set()\n", told.stdout + told.stderr


def test_readers_need_neither_torch_nor_pysyft() -> None:
    code = "import sys, datasites.data.readers, datasites.demo.stand_ins; print({'torch', 'syft'} & set(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True
    )
    assert told.stdout == "set()\n", told.stdout + told.stderr
