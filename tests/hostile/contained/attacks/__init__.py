"""Each attack is a function that says whether it got in: by evidence, not because nothing was raised.

A module for each kind. All of them import what they need at their top: an `import` that fails inside
a sandbox would prove nothing about the attack.
"""

import inspect
from collections.abc import Callable

from tests.hostile.contained.attacks import (
    evasion,
    execution,
    exhaustion,
    files,
    kernel,
    network,
    processes,
)
from tests.hostile.contained.attacks.world import World

Attack = Callable[[World], bool]
_MODULES = (files, network, processes, execution, kernel, exhaustion, evasion)
ATTACKS: dict[str, Attack] = {
    name: function
    for module in _MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__
    and not name.startswith("_")
    and list(inspect.signature(function).parameters) == ["world"]
}
OVERDUE = tuple(function.__name__ for function in exhaustion.OVERDUE)
