"""kill -9 at any moment: nothing that left is unpaid, and nothing that was told is lost."""

import random
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from datasites.sandbox.spec import Mechanism, Spec, python_paths
from datasites.site import Site
from datasites.vault.worker import training_worker
from tests.datasites import crashes, promises
from tests.datasites.crashes import Hospital, Tally
from tests.datasites.lives import ROOT, Aim, Phase
from tests.datasites.promises import Broken

pytestmark = pytest.mark.servers


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_a_vault_that_is_killed_at_any_moment_keeps_what_it_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kills: int
) -> None:
    seed = secrets.randbelow(2**32)
    tally = crashes.run(tmp_path, kills=kills, seed=seed, told=lambda _: None)
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}\n{crashes.in_words(tally)}\n")
    assert not tally.broken, tally.broken
    assert tally.kills == kills
    if kills >= 100:
        assert set(tally.phases) >= set(Phase) - {Phase.BETWEEN, Phase.FETCH}, "all phases were hit"
        assert tally.rerun, "some rounds were cut and ran again"


SHORT_LIVED = """
import sys
from pathlib import Path
from datasites.vault.worker.training_worker import TrainingWorker
worker = TrainingWorker(Path(sys.argv[1]))
worker.ready()
print(worker._template.process.pid, flush=True)
sys.stdin.read()
"""


def test_a_template_whose_vault_is_gone_ends_with_its_workers(tmp_path: Path) -> None:
    vault = subprocess.Popen(
        [sys.executable, "-c", SHORT_LIVED, str(tmp_path / "log")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with vault:
        assert vault.stdout is not None
        template = psutil.Process(int(vault.stdout.readline()))
        family = [template, *template.children(recursive=True)]
        assert len(family) > 1, "a worker waits for a job"
        vault.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


@pytest.mark.parametrize("mechanism", ["namespaces", "landlock", "none"])
def test_a_template_whose_vault_is_gone_already_ends_before_it_imports_torch(
    mechanism: Mechanism,
) -> None:
    """That of bubblewrap's walls ends with bubblewrap, which ends with who started it."""
    spec = Spec(
        mechanism=mechanism,
        profile="strict",
        entry=training_worker._ENTRY,
        prepare=training_worker._PREPARE["consilium"],
        readable=python_paths(),
        memory_bytes=1 << 36,
        log_bytes=1 << 20,
    )
    command = [
        *(sys.executable, "-X", "importtime", "-m", "datasites.sandbox.inside"),
        *(spec.to_json(), "1"),
    ]
    ended = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert ended.returncode == -signal.SIGTERM
    assert "syft_code.operation.parent_exit" in ended.stderr
    assert "torch" not in ended.stderr


def test_a_start_clears_away_what_a_kill_left_and_keeps_what_left(
    killed: Hospital, tmp_path: Path
) -> None:
    copy = Site(tmp_path / "copy")
    shutil.copytree(killed.home, copy.home, ignore=shutil.ignore_patterns("*.sock"))
    for name in (
        "sealed/00",
        "sealed/00.unfinished",
        "client_state/00",
        "cohorts/00.safetensors.unfinished",
    ):
        (copy.vault / name).write_bytes(b"cut")
    found = promises.check(copy, killed.told)
    assert found.traces["shares were written, not released"] == 1


# The check itself: a folder that lost or gained anything is not let through


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    """A hospital that has released a round or two and lets a plan run, killed."""
    hospital = Hospital(tmp_path_factory.mktemp("killed"), random.Random(0), Tally())
    while len(hospital.told.shares) < 3 or not hospital.books.approved:
        hospital.die(Aim(name="after a round", cards=0, window_s=2.0, phase=Phase.FETCH))
    hospital.leave_nothing()
    return hospital


def sql(*statements: str) -> Callable[[Site], None]:
    """Change a vault's tables behind its back."""

    def change(site: Site) -> None:
        with sqlite3.connect(site.vault / "vault.db") as database:
            for statement in statements:
                database.execute(statement)
        database.close()

    return change


def change_a_share(site: Site) -> None:
    for path in (site.vault / "sealed").iterdir():
        *others, last = path.read_bytes()
        path.write_bytes(bytes([*others, last ^ 1]))


def lose_the_cohorts(site: Site) -> None:
    shutil.rmtree(site.vault / "cohorts")


def another_key(site: Site) -> None:
    (site.vault / "key").write_bytes(secrets.token_bytes(32))


def leave_rubbish(site: Site) -> None:
    (site.vault / "a.rubbish").write_bytes(b"x")


FREE = ("DROP TRIGGER log_is_kept", "DROP TRIGGER log_is_fixed")
TAMPERINGS: dict[str, Callable[[Site], None]] = {
    "a price is gone": sql("DELETE FROM spent"),
    "a price is gone, and the log's end with it": sql(
        *FREE,
        "DELETE FROM log WHERE number >= "
        "(SELECT MIN(number) FROM log WHERE kind = 'round reserved')",
        "DELETE FROM spent",
    ),
    "a price is another": sql("UPDATE spent SET event = replace(event, ':10,', ':11,')"),
    "a release is not marked": sql("UPDATE spent SET released = 0"),
    "a ticket is gone": sql("DELETE FROM ticket"),
    "an approval is gone": sql("DELETE FROM approval"),
    "a refusal is nobody's wish": sql(
        "INSERT OR REPLACE INTO refusal SELECT plan_hash, 'denied', '.' FROM plan"
    ),
    "a version is gone": sql("DELETE FROM asset"),
    "a state is of no plan": sql("INSERT INTO client_state VALUES ('00', '00')"),
    "a policy is gone": sql("DELETE FROM owner_action WHERE name = 'AdoptPolicy'"),
    "a removed patient is nobody's wish": sql("INSERT INTO removed_patient VALUES ('00')"),
    "a share has another byte": change_a_share,
    "the cohorts are gone": lose_the_cohorts,
    "the key is another": another_key,
    "a file stays that nothing needs": leave_rubbish,
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_a_folder_that_does_not_keep_its_word_is_found_out(
    killed: Hospital, tmp_path: Path, tampering: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(killed.home, copy, ignore=shutil.ignore_patterns("*.sock"))
    promises.check(Site(copy), killed.told)
    TAMPERINGS[tampering](Site(copy))
    with pytest.raises(Broken):
        promises.check(Site(copy), killed.told)
