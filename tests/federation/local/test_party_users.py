"""Which users a federation's parties run as, and what the table says of it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from datasites import site_users
from datasites.site_users import FIRST_USER
from federation.local import aggregator_processes, federation_file, party_users, provisioning
from federation.local.federation_file import FederationConfig
from federation.local.party_users import Choice
from syft_code.errors import InvalidInput, Refused
from tests.conftest import free_ports
from tests.other_users import ROOT, can_read, needs_root, open_folder, python_for_everybody

CONFIG = federation_file.default(first_port=9000)


@pytest.fixture
def state() -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def can(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which parties can be users of their own, whatever this one is."""
    monkeypatch.setattr(site_users, "obstacle", lambda numbers, places: "")


def told(choice: Choice) -> str:
    console = Console(width=400)
    with console.capture() as said:
        console.print(aggregator_processes.table(CONFIG, choice))
    return " ".join(said.get().split())


def test_an_ordinary_users_parties_are_one_user_and_the_table_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    choice = party_users.choose(CONFIG, tmp_path, first=FIRST_USER)
    assert choice.users is None
    assert "All parties are one user: whoever takes over one of them reads" in told(choice)
    assert list(tmp_path.iterdir()) == []


@needs_root
def test_root_can_ask_for_one_user_and_is_told_why_there_are_no_others(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "one user, as you asked" in told(party_users.choose(CONFIG, state, first=0))
    why = "other users can't enter /root, where Python lies"
    monkeypatch.setattr(site_users, "obstacle", lambda numbers, places: why)
    said = told(party_users.choose(CONFIG, state, first=FIRST_USER))
    assert f"All parties are one user, since {why}: whoever takes over" in said
    assert "Install Python and Consilium" in said
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("first", [-1, 1, 999, 2**31, 2**40])
def test_a_number_that_no_user_can_have_is_refused(first: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--first-user must be 0, or lie between 1000 and"):
        party_users.choose(CONFIG, tmp_path, first=first)


@needs_root
@pytest.mark.usefixtures("can")
def test_no_number_is_given_twice_and_a_hospital_that_left_the_file_keeps_some(state: Path) -> None:
    (state / "hospitals" / "older").mkdir(parents=True)
    users = party_users.choose(CONFIG, state, first=FIRST_USER).users
    assert users is not None and "older" in users.hospitals
    sites = [users.hospital(name) for name in users.hospitals]
    numbers = [n for s in sites for n in (s.group, s.owner.number, s.vault.number, s.desk.number)]
    numbers += [users.aggregator(name).number for name in users.aggregators]
    assert sorted(numbers) == list(users.numbers) and users.numbers[0] == FIRST_USER
    said = told(Choice(users=users, sentence=party_users.OWN_USERS))
    assert "Each process is a user of its own" in said
    for entry in CONFIG.hospital:
        of = users.hospital(entry.name)
        assert f"{of.owner.number}-{of.desk.number}" in said


def made(config: FederationConfig, state: Path, *, first: int) -> dict[str, tuple[int, int]]:
    """Every folder of the parties with its owner and mode, as a start makes it."""
    users = party_users.choose(config, state, first=first).users
    for one in provisioning.hospitals(config, state):
        one.parties(users.hospital(one.settings.name) if users else None)
    aggregator_processes.parties(config, state, researcher="ab" * 32, users=users)
    return {
        str(path.relative_to(state)): (path.stat().st_uid, path.stat().st_mode & 0o777)
        for path in (state, *state.rglob("*"))
    }


@needs_root
@pytest.mark.usefixtures("can")
def test_one_user_and_users_of_their_own_follow_each_other_in_one_folder(state: Path) -> None:
    state.chmod(0o700)
    name = min(entry.name for entry in CONFIG.hospital)
    adder = f"aggregators/{min(entry.name for entry in CONFIG.aggregator)}"
    after = 4 * len(CONFIG.hospital)
    alone = made(CONFIG, state, first=0)
    assert {uid for uid, _ in alone.values()} == {0}
    own = made(CONFIG, state, first=FIRST_USER)
    assert own[f"hospitals/{name}/owner/key"] == (FIRST_USER + 1, 0o600)
    assert own[f"hospitals/{name}/vault"] == (FIRST_USER + 2, 0o710)
    assert own[f"hospitals/{name}/desk"] == (FIRST_USER + 3, 0o700)
    assert own[adder] == (FIRST_USER + after, 0o700)
    moved = made(CONFIG, state, first=FIRST_USER + 50)
    assert moved[f"hospitals/{name}/vault"] == (FIRST_USER + 52, 0o710)
    again = made(CONFIG, state, first=0)
    assert {uid for uid, _ in again.values()} == {0}
    assert again[f"hospitals/{name}/vault"] == (0, 0o700) and again["."] == (0, 0o700)


def as_it_lies(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Whose everything below a folder is, and when it changed; reading it is no change."""
    found = {path: path.lstat() for path in folder.rglob("*")}
    return {
        path: (one.st_ino, one.st_mode, one.st_uid, one.st_gid, one.st_mtime_ns, one.st_ctime_ns)
        for path, one in found.items()
    }


@needs_root
@pytest.mark.parametrize("reset_mode", [False, True])
def test_a_federation_that_ran_with_users_of_its_own_is_never_one_user_unless_asked(
    state: Path, monkeypatch: pytest.MonkeyPatch, reset_mode: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(site_users, "obstacle", lambda numbers, places: "")
        own = made(CONFIG, state, first=FIRST_USER)
        if reset_mode:  # as a start that is killed between making and giving leaves it
            for entry in CONFIG.hospital:
                (state / "hospitals" / entry.name).chmod(0o700)
    why = "other users can't enter /root, where Python lies"
    monkeypatch.setattr(site_users, "obstacle", lambda numbers, places: why)
    before = as_it_lies(state)
    with pytest.raises(
        Refused, match=f"go on so, since {why}: mend that, or start with --first-user 0"
    ):
        party_users.choose(CONFIG, state, first=FIRST_USER)
    assert as_it_lies(state) == before
    again = made(CONFIG, state, first=0)
    assert own.keys() == again.keys() and {uid for uid, _ in again.values()} == {0}
    told_why = told(party_users.choose(CONFIG, state, first=FIRST_USER))
    assert f"All parties are one user, since {why}" in told_why, "it is one user by now"


@needs_root
@pytest.mark.usefixtures("can")
@pytest.mark.parametrize("place", [
    "hospitals", "aggregators", "hospitals/{h}", "hospitals/{h}/site.json", "hospitals/{h}/desk.uid",
    "hospitals/{h}/policy.toml", "hospitals/{h}/vault", "aggregators/{a}", "aggregators/{a}.toml",
])  # fmt: skip
def test_links_in_a_folder_that_an_ordinary_user_had_are_refused_before_anything_is_given(
    state: Path, place: str
) -> None:
    ours, user = state / "state", 1234
    ours.mkdir(mode=0o700)
    made(CONFIG, ours, first=0)
    names = {"h": CONFIG.hospital[0].name, "a": CONFIG.aggregator[0].name}
    link, elsewhere = ours / place.format(**names), state / "elsewhere"
    if link.exists():
        link.rename(elsewhere)
    else:
        elsewhere.mkdir()
    link.symlink_to(elsewhere)
    for path in (ours, *ours.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)
    before = as_it_lies(state)
    with pytest.raises(InvalidInput, match=f"'{link.relative_to(ours)}' is one: put the folder"):
        party_users.choose(CONFIG, ours, first=FIRST_USER)
    assert as_it_lies(state) == before


START = """
import json, sys
from pathlib import Path
from datasites.protocol import vault_api
from syft_code.operation import supervisor
from federation.local import aggregator_processes, federation_file, party_users, provisioning
from tests.other_users import acting_as

state, config = Path(sys.argv[1]), federation_file.default(first_port=int(sys.argv[2]))
choice = party_users.choose(config, state, first=int(sys.argv[3]))
users = choice.users
if users is None:
    sys.exit(choice.sentence)
one = min(provisioning.hospitals(config, state), key=lambda one: one.settings.name)
of = users.hospital(one.settings.name)
adders = aggregator_processes.parties(config, state, researcher="ab" * 32, users=users)
specs = [one.parties(of)[0], min(adders, key=lambda spec: spec.name)]

def health(user):
    with acting_as(user.number, user.groups):
        try:
            return type(vault_api.ask(one.home / "vault", vault_api.GetHealth())[0]).__name__
        except Exception as problem:
            return type(problem).__name__

with supervisor.running(specs, start_timeout_s=120) as watched:
    said = {"environ": []}
    for party in watched._parties:
        lines = Path(f"/proc/{party.process.pid}/status").read_text().splitlines()
        said["environ"] += Path(f"/proc/{party.process.pid}/environ").read_text().split("\\0")
        words = dict(line.split(":", 1) for line in lines)
        said[party.spec.module.split(".")[-1]] = [[*map(int, words[key].split())] for key in ("Uid", "Gid", "Groups")]
    asked = {"desk": of.desk, "owner": of.owner, "adder": specs[1].user}
    said["home"], said["adder"] = str(one.home), str(state / "aggregators" / specs[1].name)
    said["health"] = {name: health(user) for name, user in asked.items()}
print(json.dumps(said))
"""


@needs_root
@pytest.mark.servers
def test_a_vault_and_an_aggregator_run_as_their_users_and_answer_whom_they_shall(
    state: Path,
) -> None:
    before = python_for_everybody(state / "aside")
    numbers = [str(free_ports(110)), str(FIRST_USER)]
    command = [*before, sys.executable, "-c", START, str(state / "s"), *numbers]
    (state / "s").mkdir(mode=0o700)
    of_root = os.environ | {"AWS_SECRET_ACCESS_KEY": "of-root"}
    done = subprocess.run(
        command, cwd=ROOT, env=of_root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["environ"] and not [word for word in said["environ"] if "of-root" in word]
    group, vault, adder = FIRST_USER, FIRST_USER + 2, FIRST_USER + 4 * len(CONFIG.hospital)
    assert said["vault_process"] == [[vault] * 4, [vault] * 4, [group]]
    assert said["aggregator_process"] == [[adder] * 4, [adder] * 4, []]
    assert said["health"] == {"desk": "Healthy", "owner": "Healthy", "adder": "Unavailable"}
    home, adders = Path(said["home"]), Path(said["adder"])
    for number in (vault, FIRST_USER + 3):
        assert not can_read(home / "owner" / "key", number, (group,))
        assert not can_read(adders / "identity" / "seal.key", number, (group,))
        assert not can_read(adders.with_suffix(".toml"), number, (group,))
    assert not can_read(home / "vault" / "key", adder)
    assert can_read(home / "owner" / "key", FIRST_USER + 1, (group,))
    assert can_read(adders / "identity" / "seal.key", adder)
