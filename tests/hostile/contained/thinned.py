"""`datasites.sandbox.inside` with layers taken away, started in its place: what each is there for.

python -m tests.hostile.contained.thinned SPEC PARENT_PID LEAKED_FILE LAYER...
"""

import contextlib
import os
import sys

from datasites.sandbox import inside, landlock, namespaces, seccomp
from datasites.sandbox.spec import Spec

_LEAKED_AT = 40


_dup2 = os.dup2


def _keep_log(descriptor: int, place: int) -> int:
    """Only the line of a worker is its own."""
    return _dup2(descriptor, place) if place == inside.LINE else place


def _nothing(*arguments: object, **options: object) -> None:
    """In place of a layer."""


def main() -> None:
    """Take the layers away, leave a file open that a careless parent may have left, then begin."""
    without = sys.argv[4:]
    if "seccomp" in without:
        seccomp.install = _nothing
    if "landlock" in without:
        landlock.restrict = _nothing
    if "namespaces" in without:
        namespaces.enter = _nothing
    if "limits" in without:
        inside.resource.setrlimit = _nothing
    if "descriptors" in without:
        inside.os.closerange = _nothing
    if "parent" in without:
        inside.end_with_template = _nothing
    if "own log" in without:
        inside.os.dup2 = _keep_log
    with contextlib.suppress(OSError):
        _dup2(os.open(sys.argv[3], os.O_RDONLY), _LEAKED_AT)
    inside.main(Spec.from_json(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
