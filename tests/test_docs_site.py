"""The documentation builds into a site without a warning, and each document has its place there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MKDOCS = Path(sys.prefix, "bin", "mkdocs")


@pytest.mark.thorough
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [MKDOCS, "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    commands = (tmp_path / "site" / "reference" / "command_line.html").read_text()
    assert "consilium requests approve" in commands and "--first-port" in commands
    assert "max_grad_norm" in (tmp_path / "site" / "reference" / "plans.html").read_text()
    fetched = re.findall(r'(?:src|href)="(https?://[^"]+)"', commands)
    assert not [link for link in fetched if "squidfunk" not in link], "nothing comes from elsewhere"
