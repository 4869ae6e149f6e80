"""What `up` and `lab` refuse before they start anything."""

from collections.abc import Callable
from pathlib import Path

import pytest

from federation.local import commands
from syft_code.errors import InvalidInput


@pytest.mark.parametrize("start", [commands.up, commands.lab])
def test_a_first_port_beside_a_file_that_names_the_ports_is_refused(
    start: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="leave out --first-port, or --federation"):
        start(federation=tmp_path / "federation.toml", first_port=9101, state=tmp_path / "state")
    assert list(tmp_path.iterdir()) == []
