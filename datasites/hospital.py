"""One hospital as whoever starts it sees it: two processes and how to ask if they are well."""

import urllib.error
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
    """Whether the front desk answers over HTTP."""
    url = f"{Site(home).settings().url}/api/v2/"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - a loopback URL of ours
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
