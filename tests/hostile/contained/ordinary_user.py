"""The corpus as the user that runs this: `python -m tests.hostile.contained.ordinary_user FOLDER`.

Prints JSON: for each mechanism that works the attacks that got in, and how many do without walls.
"""

import json
import os
import sys
from pathlib import Path

from datasites.sandbox.offers import offers
from tests.hostile.contained.attacks import ATTACKS, OVERDUE
from tests.hostile.contained.host import host
from tests.hostile.contained.runner import arena, spec

ENDING = [name for name in ATTACKS if name not in OVERDUE]


def main(folder: Path) -> None:
    """Try all, mechanism after mechanism."""
    found: dict[str, dict[str, str]] = {}
    with host(folder) as machine:
        for mechanism in [offer.mechanism for offer in offers() if offer.works]:
            with arena(machine, spec(machine, mechanism, "strict")) as place:
                found[mechanism] = place.got_in(ENDING) | place.outlived()
        with arena(machine, spec(machine, "none", "strict")) as place:
            without_walls = place.got_in(ENDING)
    json.dump({"uid": os.getuid(), "got in": found, "without walls": without_walls}, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
