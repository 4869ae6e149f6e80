"""`--reset` deletes a federation's own folders, and nothing of anybody else."""

import sys
from pathlib import Path

import pytest

from datasites import private_files
from datasites.vault.db.database import Database
from datasites.vault.db.ledger import Caps, Ledger, Spend
from federation.local import state_folder
from policies import site_policy
from policies.site_policy import Budget, SitePolicy
from syft_code.errors import InvalidInput, Refused, Unavailable
from syft_code.plans.catalogue import Terms
from syft_code.privacy.accounting import DpSgdEvent


def federation(folder: Path) -> Path:
    """A folder as `up` leaves it, and a note that somebody else put there."""
    with state_folder.held(folder):
        (folder / "researcher.json").write_text("{}")
        for name in ("hospitals/north/vault", "aggregators/one", "stand-ins/heart"):
            (folder / name).mkdir(parents=True)
        (folder / "thesis.txt").write_text("five years of work")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_reset_leaves_the_mark_and_what_is_no_federations(tmp_path: Path) -> None:
    state = federation(tmp_path / "state")
    state_folder.require_usable(state, reset=True)
    with state_folder.held(state):
        state_folder.reset(state, confirmed=True, say=lambda line: None)
    assert names(state) == {state_folder.MARK, "thesis.txt"}


@pytest.mark.parametrize("content", ["thesis.txt", "hospitals", "researcher.json"])
def test_a_folder_without_the_mark_is_not_reset(tmp_path: Path, content: str) -> None:
    (tmp_path / content).write_text("mine")
    with pytest.raises(InvalidInput, match="does not carry a federation's mark"):
        state_folder.require_usable(tmp_path, reset=True)
    assert (tmp_path / content).read_text() == "mine"


def test_a_folder_of_other_things_becomes_no_federation(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="holds other things"):
        state_folder.require_usable(tmp_path, reset=False)
    with pytest.raises(InvalidInput, match="must be a folder"):
        state_folder.require_usable(tmp_path / "thesis.txt", reset=False)
    assert names(tmp_path) == {"thesis.txt"}


def test_a_federation_from_before_the_mark_starts_and_is_marked(tmp_path: Path) -> None:
    home = tmp_path / "hospitals" / "north"
    home.mkdir(parents=True)
    (home / "site.json").write_text("{}")
    state_folder.require_usable(tmp_path, reset=False)
    with pytest.raises(InvalidInput, match="mark"):
        state_folder.require_usable(tmp_path, reset=True)
    with state_folder.held(tmp_path):
        assert (tmp_path / state_folder.MARK).is_file()


def test_a_folder_in_use_is_held_by_one(tmp_path: Path) -> None:
    state = federation(tmp_path / "state")
    with (
        state_folder.held(state),
        pytest.raises(Unavailable, match=r"runs in .* already"),
        state_folder.held(state),
    ):
        pass
    assert "hospitals" in names(state)


def test_without_a_terminal_a_reset_wants_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = federation(tmp_path / "state")
    with state_folder.held(state):
        with pytest.raises(Refused, match="--yes"):
            state_folder.reset(state, confirmed=False, say=lambda line: None)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(state_folder.cli_output, "confirmed", lambda question: False)
        with pytest.raises(Refused, match="Nothing was deleted"):
            state_folder.reset(state, confirmed=False, say=lambda line: None)
        assert "hospitals" in names(state)
        monkeypatch.setattr(state_folder.cli_output, "confirmed", lambda question: True)
        state_folder.reset(state, confirmed=False, say=lambda line: None)
    assert "hospitals" not in names(state)


def test_a_reset_says_which_ledgers_it_forgets(tmp_path: Path) -> None:
    state = federation(tmp_path / "state")
    home = state / "hospitals" / "north"
    terms = Terms(epsilon=8.0, delta=1e-5, min_noise_multiplier=0.3, min_patients=1)
    (home / "policy.toml").write_text(site_policy.text(SitePolicy(terms=terms)))
    spend = Spend(
        asset="skin-lesions", plan_hash="a" * 64, researcher="alice", researcher_key="b" * 64,
        purpose="train", round=1, weights_sha256="c" * 64,
    )  # fmt: skip
    event = DpSgdEvent(noise_multiplier=1.0, sample_rate=0.1, steps=10)
    budget = Budget(epsilon=8.0, delta=1e-5)
    ledger = Ledger(Database(home / "vault" / "vault.db"))
    ledger.reserve(spend, event, Caps(of_asset=lambda asset: budget, study=(budget,)))
    broken = state / "hospitals" / "south" / "vault"
    broken.mkdir(parents=True)
    (broken / "vault.db").write_text("no database at all, and long enough to be looked at")
    said: list[str] = []
    with state_folder.held(state):
        state_folder.reset(state, confirmed=True, say=said.append)
    assert "privacy ledgers" in said[0]
    assert "north, asset skin-lesions: epsilon " in said[1]
    assert "spent at delta 1e-05, entries 1" in said[1]
    assert f"south: the ledger {broken / 'vault.db'}" in said[2]


def test_a_start_that_comes_to_nothing_leaves_no_mark(tmp_path: Path) -> None:
    with pytest.raises(Refused), state_folder.held(tmp_path / "new"):
        raise Refused("A port is in use.")
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    with state_folder.held(tmp_path / "mine"):
        (tmp_path / "mine" / "thesis.txt").write_text("five years of work")
    assert names(tmp_path / "mine") == {"thesis.txt"}


@pytest.mark.parametrize("how", ["another text", "a link"])
def test_a_file_with_the_marks_name_is_no_mark(tmp_path: Path, how: str) -> None:
    state, other = federation(tmp_path / "state"), tmp_path / "other"
    (state / state_folder.MARK).unlink()
    other.write_bytes(state_folder.MARK_TEXT if how == "a link" else b"")
    if how == "a link":
        (state / state_folder.MARK).symlink_to(other)
    else:
        (state / state_folder.MARK).write_text("something else")
    with pytest.raises(InvalidInput, match="does not carry a federation's mark"):
        state_folder.require_usable(state, reset=True)


def test_a_vault_that_runs_by_itself_is_in_use(tmp_path: Path) -> None:
    state = federation(tmp_path / "state")
    lock = private_files.lock_file(state / "hospitals" / "north" / "vault" / "lock")
    with (
        lock,
        state_folder.held(state),
        pytest.raises(Unavailable, match="The vault of north runs"),
    ):
        state_folder.reset(state, confirmed=True, say=lambda line: None)
    assert (state / "researcher.json").exists()
