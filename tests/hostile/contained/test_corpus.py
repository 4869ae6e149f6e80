"""Attacks against a contained process: none gets in, and each would, were the walls not there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasites.sandbox import template as templates
from datasites.sandbox.offers import offers
from datasites.sandbox.spec import Mechanism
from tests.hostile.contained.attacks import ATTACKS, OVERDUE
from tests.hostile.contained.host import Host, host
from tests.hostile.contained.runner import arena, spec, without

WORKING = [offer.mechanism for offer in offers() if offer.works]
ENDING = [name for name in ATTACKS if name not in OVERDUE]
LEAST, LEAST_WITHOUT_WALLS = 180, 130
HELD_WITHOUT_WALLS = {
    "dotdot_from_descriptors",  # no folder is open
    "modify_asset_by_mapping",  # the file was opened for reading
    "reuse_of_own_line",  # a connected socket stays connected
    "inherited_fds",
    *("read_own_environ", "read_own_first_environ", "format_walk"),  # the environment is new
    *("read_log", "map_log", "rewrite_log", "truncate_log", "size_of_log", "end_of_log"),  # own log
    *(
        "memory_hog",
        "memory_hog_in_pieces",
        "fd_exhaustion",
        "overfill_log",
        "posix_queue",
    ),  # limits
    "x32",  # few kernels have it
}
"""What other guards hold than the walls; the tests below take those guards away."""
READERS = {"import_by_name", "load_library", "numpy_ctypeslib", "torch_load_library"}
"""A reader of files may read the libraries in its view, and load them."""
LANDLOCKS = {
    *("stat_other_asset", "find_other_asset_by_access", "find_other_asset_by_readlink"),
    "read_host_name",
}
"""Landlock hides no names: a reader behind it alone may ask whether a file is there."""
LAYERS: list[tuple[Mechanism, str, str, str]] = [
    ("bubblewrap", "strict", "seccomp", "vsock_create"),
    ("namespaces", "strict", "seccomp", "vsock_create"),
    ("landlock", "strict", "seccomp", "fork_child"),
    ("landlock", "reader", "landlock", "read_other_asset"),
    ("namespaces", "reader", "namespaces", "stat_other_asset"),
    ("namespaces", "strict", "limits", "memory_hog"),
    ("namespaces", "strict", "limits", "overfill_log"),
    ("landlock", "strict", "descriptors", "inherited_fds"),
    ("namespaces", "strict", "own log", "read_log"),
    ("namespaces", "strict", "own log", "end_of_log"),
]


MECHANISMS = [
    "namespaces",  # as root it needs nothing that must be installed
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("bubblewrap", "landlock")),
]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with host(tmp_path_factory.mktemp("host")) as found:
        yield found


def needs(mechanism: Mechanism) -> None:
    if mechanism not in WORKING:
        pytest.skip(f"{mechanism} does not work on this machine")


def test_there_are_as_many_attacks_as_were_written() -> None:
    assert len(ATTACKS) >= LEAST


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_no_attack_gets_in(machine: Host, mechanism: Mechanism) -> None:
    needs(mechanism)
    with arena(machine, spec(machine, mechanism, "strict")) as place:
        assert place.got_in(ENDING) == {}
        assert place.outlived() == {}


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_reader_reads_libraries_and_nothing_else(machine: Host, mechanism: Mechanism) -> None:
    needs(mechanism)
    allowed = READERS | (LANDLOCKS if mechanism == "landlock" else set())
    with arena(machine, spec(machine, mechanism, "reader")) as place:
        assert {k: v for k, v in place.got_in(ENDING).items() if k not in allowed} == {}
        assert place.outlived() == {}


@pytest.mark.slow
def test_without_walls_they_get_in(machine: Host) -> None:
    """The control: an attack that never works says nothing about a wall.

    Which ones work depends on the machine, a few of them; as root nearly all do.
    """
    with arena(machine, spec(machine, "none", "strict")) as place:
        got_in = place.got_in(ENDING)
        outlived = place.outlived()
    assert len(got_in) >= LEAST_WITHOUT_WALLS
    assert set(got_in).isdisjoint(HELD_WITHOUT_WALLS - {"x32"})
    assert set(outlived) >= {"outlive_parent", "daemonize"}
    if may_all():
        held = set(ENDING) - set(got_in)
        assert len(held - HELD_WITHOUT_WALLS) < 12, held - HELD_WITHOUT_WALLS


def may_all() -> bool:
    """Whether this is root with its rights, not root of a container."""
    words = Path("/proc/self/status").read_text().split()
    return os.geteuid() == 0 and bool(int(words[words.index("CapEff:") + 1], 16) >> 21 & 1)


@pytest.mark.parametrize(("mechanism", "profile", "layer", "attack"), LAYERS)
def test_an_attack_notices_a_missing_layer(
    machine: Host, mechanism: Mechanism, profile: str, layer: str, attack: str
) -> None:
    needs(mechanism)
    shape = spec(machine, mechanism, profile)
    with without(machine, layer), arena(machine, shape) as place:
        assert set(place.got_in([attack])) == {attack}


def test_the_filter_alone_holds_a_strict_job(machine: Host) -> None:
    needs("namespaces")
    with (
        without(machine, "namespaces", "landlock"),
        arena(machine, spec(machine, "namespaces", "strict")) as place,
    ):
        assert place.got_in(ENDING) == {}


def test_the_other_walls_hold_files_and_processes_without_the_filter(machine: Host) -> None:
    needs("namespaces")
    with (
        without(machine, "seccomp", "landlock"),
        arena(machine, spec(machine, "namespaces", "strict")) as place,
    ):
        found = place.got_in(ENDING)
    assert not {how for how in found.values() if how != "the worker shows it"}  # no trace outside
    assert not {name for name in found if "read_" in name} - {"read_host_name"}


def test_a_worker_that_forgets_its_parents_end_would_outlive_it(machine: Host) -> None:
    needs("landlock")
    shape = spec(machine, "landlock", "strict")
    with without(machine, "parent"), arena(machine, shape) as place:
        assert "cpu_loop" in place.outlived(["cpu_loop", "sleep"])


def test_an_environment_with_secrets_would_be_read(
    machine: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("landlock")
    name = machine.world("").variable
    monkeypatch.setattr(templates, "_ENVIRONMENT", templates._ENVIRONMENT | {name: "secret"})
    with arena(machine, spec(machine, "landlock", "strict")) as place:
        assert set(place.got_in(["read_own_environ", "format_walk"])) == {
            "read_own_environ",
            "format_walk",
        }
