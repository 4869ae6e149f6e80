"""Three hospitals, three aggregators and a researcher on seven hosts, by the commands of docs/deploy.md alone."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasites.demo import stand_ins
from tests.journeys import hosts
from tests.journeys.hosts import HOME, Host
from tests.other_users import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.servers,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(hosts.missing()), reason=hosts.missing() or "hosts"),
]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
HOSPITALS, ADDERS = ("north", "south", "west"), ("adder-1", "adder-2", "adder-3")
STEP = re.compile(
    r"^On (each hospital|each aggregator|the researcher)'s host.*?^```\n(.*?)^```", re.M | re.S
)
PATIENCE_S = 240.0


def steps() -> list[tuple[str, list[str]]]:
    """What the page has people type, by whose host it is."""
    found = [(who, lines.strip().splitlines()) for who, lines in STEP.findall(PAGE)]
    owners = "each hospital"
    assert [who for who, _ in found] == [
        "the researcher", "each aggregator", owners, owners, owners, "the researcher", owners,
    ]  # fmt: skip
    return found


class Network:
    """The seven hosts."""

    def __init__(self, folder: Path) -> None:
        names = [*HOSPITALS, *ADDERS, "ada"]
        self.hosts = {
            name: Host(name=name, number=number, folder=folder / name)
            for number, name in enumerate(names, 1)
        }
        for name, host in self.hosts.items():
            port = 8443 if name in HOSPITALS else 8201
            host.variables = {
                "NAME": name,
                "ADDRESS": f"{host.ip}:{port}",
                "INSTITUTION": f"Institute of {name}",
                "FOLDER": str(HOME / "state"),
            }

    def of(self, who: str) -> list[Host]:
        """The hosts that a step is for."""
        names = {"each hospital": HOSPITALS, "each aggregator": ADDERS, "the researcher": ("ada",)}
        return [self.hosts[name] for name in names[who]]

    def hand(self, file: str, giver: Host, taker: Host, *, name: str = "") -> None:
        """A file that one person gives to another."""
        shutil.copy(giver.folder / file, taker.folder / (name or Path(file).name))

    def words(self, name: str) -> str:
        """What somebody there reads on the telephone."""
        kind, file = ("hospital", "hospital") if name in HOSPITALS else ("aggregator", "aggregator")
        said = self.hosts[name].told(f"consilium {kind} show --config {file}.toml --json")
        words: str = json.loads(said)["words"]
        return words


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("hosts")
    for place in (folder, *folder.parents):
        if place != Path("/tmp"):  # noqa: S108 - users of their own must enter what pytest made for one
            place.chmod(place.stat().st_mode | 0o111)
    found = Network(folder)
    hosts.lay_cables()
    try:
        for host in found.hosts.values():
            host.switch_on()
        for seed, name in enumerate(HOSPITALS):
            stand_ins.write("ham10000", found.hosts[name].folder / "data", patients=60, seed=seed)
        yield found
    finally:
        for host in found.hosts.values():
            host.switch_off()
        hosts.take_cables_away()


def typed(host: Host, line: str, **variables: str) -> None:
    """One line as a person types it; what takes its time to answer is asked again."""
    if line.endswith("&"):
        host.begin(line.removesuffix("&"))
        return
    give_up = time.monotonic() + PATIENCE_S
    waits = line.startswith(("consilium hospital status", "consilium aggregator show"))
    done = host.tried(line, **variables)
    while done.returncode and waits and time.monotonic() < give_up:
        time.sleep(2)
        done = host.tried(line, **variables)
    said = [host.said(number) for number in range(len(host._background))]
    assert done.returncode == 0, (done.stderr, done.stdout, host.name, line, said)


def test_from_nothing_to_a_trained_model_on_seven_hosts(network: Network) -> None:
    key, adders, hospitals, known, patients, study, decide = steps()
    ada = network.hosts["ada"]
    for host, line in each(network, key):
        typed(host, line)
    for adder in network.of("each aggregator"):
        network.hand("researcher.key", ada, adder)
    for host, line in each(network, adders):
        typed(host, line)
    for adder in network.of("each aggregator"):
        for taker in (*network.of("each hospital"), ada):
            network.hand("state/public.json", adder, taker, name=f"{adder.name}.json")
    for host, line in each(network, hospitals):
        typed(host, line)
    for giver in network.of("each hospital"):
        for taker in network.of("each hospital"):
            if taker is not giver:
                network.hand(f"{giver.name}.json", giver, taker)
    heard = {name: network.words(name) for name in (*HOSPITALS, *ADDERS)}
    for host, line in each(network, known):
        for name, words in heard.items():
            theirs = {"FILE": f"{name}.json", "THEIR_INSTITUTION": f"Institute of {name}"}
            typed(host, line, WORDS=words, **theirs)
    for host, line in each(network, patients):
        typed(host, line)
    for giver in network.of("each hospital"):
        network.hand(f"ada.{giver.name}.json", giver, ada)

    (ada.folder / "study.py").write_text(re.findall(r"```python\n(.*?)```", PAGE, re.S)[0])
    join, train = study[1]
    typed(ada, join)
    training = ada.begin(train)
    log = len(ada._background) - 1
    for host in network.of("each hospital"):
        wait_for_request(host)
        for line in decide[1]:
            typed(host, line)
    assert training.wait(timeout=900) == 0, ada.said(log)
    assert "rounds" in ada.said(log), ada.said(log)
    for host in network.hosts.values():
        check_ports(host)


def each(network: Network, step: tuple[str, list[str]]) -> Iterator[tuple[Host, str]]:
    """The lines of a step, on one host after the other."""
    who, lines = step
    for host in network.of(who):
        for line in lines:
            yield host, line


def wait_for_request(host: Host) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        said = host.told("consilium requests list --state $FOLDER --json")
        if json.loads(said)["requests"]:
            return
        time.sleep(2)
    raise AssertionError("no request came")


def check_ports(host: Host) -> None:
    """Only what the page names listens."""
    listening = {
        int(line.split()[3].rpartition(":")[2]) for line in host.told("ss -Htln").splitlines()
    }
    wanted = {HOSPITALS: {8443}, ADDERS: {8201}, ("ada",): set[int]()}
    of = next(ports for names, ports in wanted.items() if host.name in names)
    assert listening == of, (host.name, listening)
