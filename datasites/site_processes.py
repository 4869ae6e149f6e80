"""One hospital's two processes, and a health probe for each.

Their logs lie in the hospital's folder, so that whoever starts them as root opens no file in theirs.
"""

import http.client
import json
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import IO

from datasites import site_users
from datasites.protocol import vault_api
from datasites.site import Site
from datasites.site_users import SiteUsers
from syft_code.errors import ConsiliumError
from syft_code.operation.process_spec import ProcessSpec
from syft_code.runtime import addresses

PROBE_S = 2.0
RELAYED_S = 5.0
METADATA = "/api/v2/metadata"
MODULES = {"vault": "datasites.vault.vault_process", "desk": "datasites.desk.desk_process"}


def parties(site: Site, users: SiteUsers | None = None) -> list[ProcessSpec]:
    """A hospital's vault and its front desk, ready to be started, as users of their own if told."""
    settings = site.settings()
    arguments = ("--home", str(site.home), "--end-with-starter")
    return [
        ProcessSpec(
            name=f"{settings.name}'s vault",
            module=MODULES["vault"],
            arguments=arguments,
            healthy=lambda: vault_is_healthy(site.home),
            log_path=site.home / site_users.LOGS[0],
            user=users.vault if users else None,
        ),
        ProcessSpec(
            name=f"{settings.name}'s front desk",
            module=MODULES["desk"],
            arguments=arguments,
            healthy=lambda: desk_is_healthy(site.home),
            log_path=site.home / site_users.LOGS[1],
            user=users.desk if users else None,
            port=settings.port,
        ),
    ]


def vault_is_healthy(home: Path) -> bool:
    """Whether the vault answers on its socket."""
    try:
        vault_api.ask(Site(home).vault, vault_api.GetHealth(), timeout_s=PROBE_S)
    except ConsiliumError:
        return False
    return True


def desk_is_healthy(home: Path) -> bool:
    """Whether this hospital's front desk answers over HTTP, and not somebody else's."""
    site = Site(home)
    try:
        url = f"{site.settings().local_url}{METADATA}"
        with urllib.request.urlopen(url, timeout=PROBE_S, context=site.pinned()) as answer:  # noqa: S310 - a URL of ours
            return _is_ours(site, answer)
    except (ConsiliumError, OSError, HTTPException):
        return False


def desk_is_reached(site: Site) -> bool:
    """Whether the front desk answers at the address that researchers use, through its relay."""
    settings = site.settings()
    first = addresses.split(settings.relay_proxy or settings.address)
    if first is None:
        return False
    line = http.client.HTTPSConnection(*first, timeout=RELAYED_S, context=site.pinned())
    try:
        if settings.relay_proxy:
            line.set_tunnel(*(addresses.split(settings.address) or ("", 0)))
        line.request("GET", METADATA)
        return _is_ours(site, line.getresponse())
    except (ConsiliumError, OSError, HTTPException):
        return False
    finally:
        line.close()


def _is_ours(site: Site, answer: IO[bytes]) -> bool:
    try:
        return bool(json.load(answer)["id"] == site.desk_uid)
    except (ValueError, KeyError, TypeError):
        return False
