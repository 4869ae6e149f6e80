"""`doctor`: what this machine offers to contain a training, what is used, what mends what is missing."""

import os
import platform

from datasites import site_users
from datasites.sandbox import landlock, offers
from datasites.site_users import FIRST_USER, MEND, NUMBERS
from datasites.vault.worker import compute_device
from syft_code.errors import Unavailable
from syft_code.runtime import cli_output
from syft_code.runtime.cli_output import AsJson


def doctor(as_json: AsJson = False) -> None:
    """What this machine offers to contain a training, and what is missing.

    Each way is tried. Exit code 1 if there is none, and hospitals will not start.

    JSON: system, used (bubblewrap, namespaces, landlock, none, or empty if a hospital would refuse),
    landlock_version, user, one_user (why `up` would run all parties as one user, empty if each is a
    user of its own), cuda (why a contained training can't use a CUDA device, empty if it can), offers:
    mechanism, works, reason, remedy.
    """
    found = offers.offers()
    try:
        used, refusal = str(offers.mechanism()), None
    except Unavailable as problem:
        used, refusal = "", problem
    one_user = site_users.obstacle(range(FIRST_USER, FIRST_USER + NUMBERS), {})
    cuda = compute_device.cuda_failure() if used else "nothing contains a training here"
    if as_json:
        cli_output.document(
            {
                "system": f"{platform.system()} {platform.release()} {platform.machine()}",
                "used": used,
                "landlock_version": landlock.version(),
                "user": os.geteuid(),
                "one_user": one_user,
                "cuda": cuda,
                "offers": [
                    {
                        "mechanism": o.mechanism,
                        "works": o.works,
                        "reason": o.reason,
                        "remedy": o.remedy,
                    }
                    for o in found
                ],
            }
        )
    else:
        _show(found, used)
        cli_output.sentence(
            f"All parties that `consilium up` starts here are one user, since {one_user}. {MEND}"
            if one_user
            else f"Each process that `consilium up` starts here is a user of its own, from {FIRST_USER} "
            "on: none reads another's keys."
        )
        cli_output.sentence(
            f"Trainings compute on the processor: {cuda}."
            if cuda
            else 'A contained training can use the CUDA device here: device = "auto" or "cuda" in a '
            "hospital's entry does, behind weaker walls (docs/sandbox.md)."
        )
    if refusal is not None:
        raise refusal


def _show(found: tuple[offers.Offer, ...], used: str) -> None:
    rows = [
        (
            offer.mechanism,
            "yes" if offer.works else "no",
            "yes" if offer.mechanism == used else "",
            offer.reason,
            offer.remedy,
        )
        for offer in found
    ]
    cli_output.table(("mechanism", "works here", "used", "why not", "what mends it"), rows)
    if used == "none":
        cli_output.sentence(
            f"Nothing contains a training here, and {offers.UNSAFE} allows that: whoever gets into a "
            "training process reads what this user can read."
        )
    elif used:
        cli_output.sentence(
            f"Trainings run in {used}: no network, no file but the libraries and the cohort that is "
            "handed to them, no other process, a filter of system calls."
        )
