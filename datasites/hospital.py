"""One hospital as whoever starts it sees it: two processes and how to ask if they are well."""

import json
import urllib.request
from pathlib import Path

from datasites import wire
from datasites.site import Site
from syft_code.errors import ConsiliumError

VAULT_MODULE = "datasites.vault_process"
DESK_MODULE = "datasites.desk_process"


def vault_is_healthy(home: Path) -> bool:
    """Whether the vault answers on its socket."""
    try:
        wire.ask(Site(home).vault, wire.AskHealth())
    except ConsiliumError:
        return False
    return True


def desk_is_healthy(home: Path) -> bool:
    """Whether this hospital's front desk answers over HTTP, and not somebody else's."""
    site = Site(home)
    url = f"{site.settings().url}/api/v2/metadata"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - a loopback URL of ours
            told = json.load(answer)
        return bool(told["id"] == (site.desk / "uid").read_text())
    except (OSError, ValueError, KeyError, TypeError):
        return False
