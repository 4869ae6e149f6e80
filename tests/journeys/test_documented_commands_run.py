"""Each command of the documents that takes under a minute does what it says, in the order of its page."""

import json
import secrets
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from datasites.demo import stand_ins
from federation.certificate import certificate
from federation.evaluation import model_file
from federation.researcher.session import Researcher
from federation.researcher.study import Study
from syft_code.plans import key_fingerprint
from syft_code.plans.plan_parts import DpSgd, Sgd
from tests.conftest import Live
from tests.plans import TINY
from tests.test_documented_commands import DOCUMENTS, whole_commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
HOSPITAL = "rosendahl"
SERVES, LONG = "runs until Ctrl-C", "takes minutes"
SHARED = "changes who decides, or a cohort, at a hospital that other tests share"
HOSTS = "test_several_hosts runs it, on hosts of its own"
OTHER = "needs a file that its own tests make"
NOT_RUN = {
    "up": SERVES,
    "lab": SERVES,
    "owner": SERVES,
    "demo": LONG,
    "study tune": LONG,
    "experiment run": LONG,
    "audit privacy": LONG,
    "aggregator": "reads a file of root's; its own tests run it",
    "audit verify LOG": "an aggregator's, as above",
    "hospital": HOSTS,
    "researcher": HOSTS,
    "patients remove": SHARED,
    "approvers new": SHARED,
    "approvers enroll": SHARED,
    "policy adopt": SHARED,
    f"requests approve latest --hospital {HOSPITAL} --keys": SHARED,
    "model export": OTHER,
    "encoder axes": OTHER,
    "encoder convert": OTHER,
    "predict model.safetensors lesion.jpg --keys": OTHER,
    "predict model.safetensors patients.csv": OTHER,
}
SAYS_NO = ("data check /data/xrays --write",)
"""What a page says ends with exit code 2: here a folder that has no mapping yet."""
PROOFS = {
    "ledger": "skin-lesions",
    "data check /data/skin": "ham10000",
    "data check /data/heart": "heart",
    "certificate verify": "olds",
    "requests approve": "in force",
    "parties list": HOSPITAL,
}
"""A word of what a command says, if it did what it should."""
PAGES = [
    page
    for page in DOCUMENTS
    if page.suffix == ".md" and page.name != "deploy.md" and any(whole_commands(page))
]
"""All but the one that `test_several_hosts` runs line by line."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A person's folder beside a running federation."""

    live: Live
    folder: Path

    def told(self, words: list[str], *, code: int = 0) -> str:
        """What a command says, as a person pastes it."""
        done = subprocess.run(
            [sys.executable, "-m", "launch", *words],
            cwd=self.folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, (words, done.stderr)
        return done.stdout

    def pending(self, researcher: Researcher, *, approved: bool = False) -> Study:
        """A new study at every hospital, which its owners have looked at."""
        study = researcher.study(
            study=f"commands-{secrets.token_hex(4)}",
            asset="skin-lesions",
            recipe=TINY,
            dp_sgd=DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.25, steps=1),
            optimizer=Sgd(learning_rate=0.5),
            rounds=5,
        )
        study.submit()
        if approved:
            for position in range(len(self.live.homes)):
                owner = self.live.owner(position)
                owner.approve(next(one for one in owner.requests() if one.plan == study.plan))
        self.told(["requests", "list", "--hospital", HOSPITAL])
        return study

    def newest_id(self) -> str:
        listed = json.loads(self.told(["requests", "list", "--hospital", HOSPITAL, "--json"]))
        found: str = listed["requests"][-1]["id"]
        return found

    def filled_in(self, line: str) -> list[str]:
        """A line's words with what stands for something else filled in, and what it needs made."""
        if "requests" in line and ("latest" in line or " ID " in line):
            with closing(Researcher.connect(self.live.credentials)) as researcher:
                self.pending(researcher, approved="revoke" in line)
        key, seal_key = (SigningKey.generate().verify_key.encode().hex() for _ in range(2))
        if "audit verify" in line:
            own = json.loads(self.told(["parties", "list", "--hospital", HOSPITAL, "--json"]))
            key = own["verify_key"]
        sealed = (seal_key,) if "--seal-key" in line else ()
        stands_for = {
            "NAME": HOSPITAL,
            "FILE": "export.jsonl",
            "WORDS": key_fingerprint.words(key, *sealed),
            "ID": self.newest_id() if " ID " in line else "ID",
        }
        words = shlex.split(line, comments=True)[1:]
        found = []
        for before, word in zip(["", *words], words, strict=False):
            if word == "KEY":
                word = seal_key if before == "--seal-key" else key
            inside = word.startswith(("/data/", "/tmp/"))  # noqa: S108 - a page's own example
            found.append(str(self.folder) + word if inside else stands_for.get(word, word))
        return [*found, "--yes"] if found[:2] == ["requests", "approve"] else found


@pytest.fixture(scope="module")
def desk(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """What the pages' commands find: a federation's state, a trained model, folders of data."""
    folder = tmp_path_factory.mktemp("desk")
    here = Desk(live=live, folder=folder)
    (folder / "federation_state").symlink_to(live.state)
    stand_ins.write("ham10000", folder / "data" / "skin", patients=30, seed=3)
    stand_ins.write("heart", folder / "data" / "heart", patients=60, seed=3)
    stand_ins.write("brats", folder / "data" / "scans", patients=12, seed=3)
    pictures = sorted((folder / "data" / "skin").rglob("*.jpg"))
    for name, some in (("healthy", pictures[:8]), ("pneumonia", pictures[8:16])):
        (folder / "data" / "xrays" / name).mkdir(parents=True)
        for picture in some:
            shutil.copy(picture, folder / "data" / "xrays" / name)
    (folder / "scans" / "case-7").mkdir(parents=True)
    shutil.copy(pictures[0], folder / "scans" / "case-7")
    (folder / "tmp").mkdir()
    (folder / "federation.toml").write_text(federation_file(live))
    with closing(Researcher.connect(live.credentials)) as researcher:
        study = here.pending(researcher, approved=True)
        study.wait_for_approval(timeout_s=60)
        outcome, key = study.train(), researcher.key
    for path in (folder, live.state / "models"):
        path.mkdir(exist_ok=True)
        model_file.write(path / "model.safetensors", outcome.plan, outcome.weights)
        certificate.write(path / "certificate.json", certificate.certificate(outcome), key=key)
    return here


def federation_file(live: Live) -> str:
    """The running federation as its file would have it."""
    hospitals = [
        f'[[hospital]]\nname = "{one.name}"\nport = {one.port}\nepsilon = 8.0\ndelta = 1e-5\n'
        for one in live.config.hospital
    ]
    aggregators = [
        f'[[aggregator]]\nname = "{one.name}"\nport = {one.port}\n'
        for one in live.config.aggregator
    ]
    return "".join([*hospitals, *aggregators])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_of_a_page_does_what_it_says(desk: Desk, page: Path, tmp_path: Path) -> None:
    """In a folder of its own, since no command writes over a file."""
    desk = replace(desk, folder=shutil.copytree(desk.folder, tmp_path / "desk", symlinks=True))
    for line in dict.fromkeys(whole_commands(page)):
        plain = " ".join(shlex.split(line, comments=True)[1:]).replace("NAME", HOSPITAL)
        if not plain.startswith(tuple(NOT_RUN)):
            said = desk.told(desk.filled_in(line), code=2 * plain.startswith(SAYS_NO))
            for words, proof in PROOFS.items():
                if plain.startswith(words):
                    assert proof in said, (plain, said)
    if page.name == "commands.md":
        (answers,) = (desk.folder / "predictions").iterdir()
        assert (answers / "probabilities.csv").read_text().count("\n") == 2
        assert json.loads((desk.folder / "log.jsonl").read_text().splitlines()[0])
        assert "Article 35" in (desk.folder / "dpia.md").read_text()


def test_most_commands_are_run_and_each_reason_not_to_is_used() -> None:
    lines = [
        " ".join(shlex.split(line, comments=True)[1:]).replace("NAME", HOSPITAL)
        for page in PAGES
        for line in whole_commands(page)
    ]
    ran = [line for line in lines if not line.startswith(tuple(NOT_RUN))]
    assert len(ran) > 35, ran
    for reason in NOT_RUN:
        assert any(line.startswith(reason) for line in lines), reason
