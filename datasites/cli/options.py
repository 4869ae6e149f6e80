"""Which hospital a command is for, and whether the processes that it needs run."""

from pathlib import Path
from typing import Annotated

import typer

from datasites import site_processes
from datasites.owner.owner import Owner
from datasites.site import Site
from syft_code.errors import InvalidInput, Unavailable, require
from syft_code.runtime.cli_output import quoted

State = Annotated[
    Path, typer.Option(help="Where the parties keep their folders; or one hospital's own folder.")
]
Name = Annotated[str, typer.Option("--hospital", help="Which hospital, by its name.")]
Keys = Annotated[
    Path | None,
    typer.Option(help="The folder with your own key, if you approve beside the owner."),
]
STATE = Path("federation_state")


def site(state: Path, name: str) -> Site:
    """The hospital of this name in a federation's folder; the only one there, if none is named.

    A hospital's own folder is that hospital.

    Raises:
        InvalidInput: if there is none; the sentence lists those that there are.
    """
    if is_file(state / "site.json"):
        alone = Site(state.resolve())
        own = alone.settings().name
        require(
            name in ("", own),
            f"--hospital must be {own}, whose folder {quoted(str(state))} is, or be left out; got {quoted(name)}.",
            error=InvalidInput,
        )
        return alone
    folder = state / "hospitals"
    known = _names(folder)
    require(
        bool(known),
        f"There must be a hospital in {quoted(str(folder))}, and there is none, or this user may not look into "
        "it: start one with `consilium up`, or say where it is with --state.",
        error=InvalidInput,
    )
    chosen = known[0] if not name and len(known) == 1 else name
    got = f"got {quoted(name)}" if name else "none is named"
    require(
        chosen in known,
        f"--hospital must be one of {', '.join(known)}; {got}.",
        error=InvalidInput,
    )
    return Site((folder / chosen).resolve())


def owner(state: Path, name: str, *, keys: Path | None = None, desk: bool = False) -> Owner:
    """The owner or approver of that hospital; its vault must run, and with `desk` the front desk too.

    Raises:
        InvalidInput: if there is no such hospital, or no key in the folder `keys`.
        Unavailable: if a process that is needed does not answer.
    """
    place = site(state, name)
    require(
        keys is None or is_file(keys / "key"),
        f"The folder {quoted(str(keys))} must hold your key, and holds none: make one with "
        "`consilium approvers new --keys FOLDER`, and let the owner enroll it.",
        error=InvalidInput,
    )
    return owner_at(place, keys=keys, desk=desk)


def owner_at(place: Site, *, keys: Path | None = None, desk: bool = False) -> Owner:
    """The owner or approver of a hospital whose folder is known; its vault must run, and with `desk` the
    front desk too.

    Raises:
        Unavailable: if a process that is needed does not answer.
    """
    if not site_processes.vault_is_healthy(place.home):
        raise _away(place, "vault", module="vault.vault_process")
    if desk:
        require_desk(place.home)
    return Owner(place.home, keys=keys)


def require_desk(home: Path) -> None:
    """Raise `Unavailable` unless the front desk answers, and not another process on its port."""
    if not site_processes.desk_is_healthy(home):
        raise _away(Site(home), "front desk", module="desk.desk_process")


def _away(place: Site, process: str, *, module: str) -> Unavailable:
    return Unavailable(
        f"The {process} of {place.settings().name} must run for this, and does not answer: start "
        "the hospital with `consilium up` or `consilium hospital start`, or this process alone with "
        f"`python -m datasites.{module} --home {place.home}`."
    )


def is_file(path: Path) -> bool:
    """Whether there is a file that can be looked at; a path that can't be is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.parent.name for path in folder.glob("*/site.json"))
    except OSError:
        return []


def require_new(out: Path) -> None:
    """Raise `InvalidInput` unless a file can be written there without taking another's place."""
    require(
        not out.exists() and out.absolute().parent.is_dir(),
        f"--out must be a new file in a folder that is there, got {quoted(str(out))}.",
        error=InvalidInput,
    )


def require_made(site: Site) -> None:
    """Raise `Unavailable` unless a hospital was made in this folder, and may be looked into."""
    require(
        is_file(site.home / "site.json"),
        f"There must be a hospital in {quoted(str(site.home))}, and there is none, or this user may not look "
        "into it: make it with `consilium hospital init`.",
        error=Unavailable,
    )
