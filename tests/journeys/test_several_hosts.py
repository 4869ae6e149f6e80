"""Three hospitals, three aggregators and a researcher on seven hosts, by the commands of docs/deploy.md alone."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datasites.demo import stand_ins
from tests.journeys import bad_line, hosts
from tests.journeys.bad_line import BadLine
from tests.journeys.hosts import HOME, Host
from tests.other_users import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.servers,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(hosts.missing()), reason=hosts.missing() or "hosts"),
    pytest.mark.skipif(bool(bad_line.missing()), reason=bad_line.missing() or "a line"),
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
        "the researcher", "each aggregator", "each aggregator", owners, owners, owners, owners,
        "the researcher", owners,
    ]  # fmt: skip
    return found


class Network:
    """The seven hosts."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[BadLine] = []
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
        for line in found.lines:
            line.end()
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
    key, adders, adders_show, hospitals, hospitals_show, known, patients, study, decide = steps()
    ada = network.hosts["ada"]
    for host, line in each(network, key):
        typed(host, line)
    for adder in network.of("each aggregator"):
        network.hand("researcher.key", ada, adder)
    for step in (adders, adders_show):
        for host, line in each(network, step):
            typed(host, line)
    for adder in network.of("each aggregator"):
        for taker in (*network.of("each hospital"), ada):
            network.hand("state/public.json", adder, taker, name=f"{adder.name}.json")
    for step in (hospitals, hospitals_show):
        for host, line in each(network, step):
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
        until(lambda host=host: "first" in host.told("consilium requests list --state $FOLDER"))
        for line in decide[1]:
            typed(host, line)
    assert training.wait(timeout=900) == 0, ada.said(log)
    assert "rounds" in ada.said(log), ada.said(log)
    for host in network.hosts.values():
        check_ports(host)
        check_users(host)


def each(network: Network, step: tuple[str, list[str]]) -> Iterator[tuple[Host, str]]:
    """The lines of a step, on one host after the other."""
    who, lines = step
    for host in network.of(who):
        for line in lines:
            yield host, line


def until(holds: Callable[[], bool], *, patience_s: float = PATIENCE_S) -> None:
    """Wait, looking every second, for what a host does."""
    give_up = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < give_up, "what the test waits for did not happen"
        time.sleep(1)


def check_ports(host: Host) -> None:
    """Only what the page names listens."""
    listening = {
        int(line.split()[3].rpartition(":")[2]) for line in host.told("ss -Htln").splitlines()
    }
    wanted = {HOSPITALS: {8443}, ADDERS: {8201}, ("ada",): set[int]()}
    of = next(ports for names, ports in wanted.items() if host.name in names)
    assert listening == of, (host.name, listening)


def check_users(host: Host) -> None:
    """Nothing of a hospital or an aggregator is root's, once it has started."""
    if host.name == "ada":
        return
    lines = host.told("ps -eo uid=,args=").splitlines()
    ours = [line.split(maxsplit=1) for line in lines if "python" in line]
    assert len(ours) >= (5 if host.name in HOSPITALS else 1), lines
    assert not [words for number, words in ours if number == "0"], lines


SECOND = """
import time
from dataclasses import replace

from federation.researcher.session import Researcher
from federation.strategy.presets import suggested

researcher = Researcher.connect("researcher.json")
start = suggested(researcher.catalogue()[0].spec)
choices = {"asset": "skin-lesions", "epsilon": 1.0, **start.choices()}
choices.pop("shared_noise", None)  # with it all aggregators are needed
sharing = replace(researcher.study("second", **choices).plan.sharing, needed=2)
study = researcher.study("second", **choices, sharing=sharing)
study.submit()
study.wait_for_approval(timeout_s=600)
for _ in range(60):
    outcome = study.train(on_round=lambda record, weights: print("round", record.round, flush=True))
    if not outcome.stopped:
        break
    print("stopped:", outcome.stopped, flush=True)
    time.sleep(3)
print(outcome, flush=True)
print("all", len(outcome.rounds), "of", outcome.plan.rounds, flush=True)
"""


def test_a_study_outlives_a_bad_line_a_cut_cable_a_lost_disk_and_a_host_without_power(
    network: Network,
) -> None:
    """After the study before, on the same hosts; the third hospital is needed in each round."""
    ada, north, south, west = (network.hosts[name] for name in ("ada", "north", "south", "west"))
    line = BadLine(ada, delay_s=0.04, loss=0.01, bits_per_s=20e6)
    network.lines.append(line)
    (ada.folder / "second.py").write_text(SECOND)
    training = ada.begin("python second.py")
    log = len(ada._background) - 1

    def asked(host: Host) -> bool:
        assert training.poll() is None, ada.said(log)
        return "second" in host.told("consilium requests list --state $FOLDER")

    for host in (north, south, west):
        until(lambda host=host: asked(host))
        host.told("consilium requests show latest --state $FOLDER --no-mock")
        host.told("consilium requests approve latest --state $FOLDER --yes")

    def reached(number: int) -> bool:
        assert training.poll() in (None, 0), ada.said(log)
        return f"round {number}\n" in ada.said(log)

    until(lambda: reached(3))
    north.told("consilium hospital backup --config hospital.toml --out early.tar")
    west.unplug()
    time.sleep(20)
    west.plug_in()
    until(lambda: reached(8))
    south.switch_off()
    south.switch_on()
    south.begin("consilium hospital start --config hospital.toml")
    until(lambda: reached(48), patience_s=3 * PATIENCE_S)  # forty rounds on a bad line
    lost = network.hosts["adder-3"]  # its disk breaks: what starts there is another aggregator
    lost.switch_off()
    shutil.rmtree(lost.folder / "state")
    lost.switch_on()
    lost.begin("consilium aggregator start --config aggregator.toml")
    assert training.wait(timeout=900) == 0, ada.said(log)
    said = ada.said(log)
    assert re.search(r"all (\d+) of \1\n", said), said
    assert line.carried > 1000 and line.lost > 5

    spent = json.loads(south.told("consilium ledger --state $FOLDER --json"))
    assert spent["assets"][0]["spent_epsilon"] > 0
    late = "consilium hospital backup --config hospital.toml --out late.tar"
    north.told(late)
    shutil.copy(north.folder / "late.tar", ada.folder)
    for copy in ("early.tar", "late.tar"):
        shutil.move(north.folder / copy, north.folder.parent / copy)
    for name in ("hospital.toml", *(f"{adder}.json" for adder in ADDERS)):
        shutil.copy(north.folder / name, north.folder.parent / name)
    north.switch_off()
    shutil.rmtree(north.folder, ignore_errors=True)  # it burns down
    north.switch_on()
    for path in (*north.folder.parent.glob("*.tar"), *north.folder.parent.glob("*.json")):
        shutil.move(path, north.folder / path.name)
    shutil.move(north.folder.parent / "hospital.toml", north.folder)
    restore = "consilium hospital restore {} --config hospital.toml " + " ".join(
        f"--aggregator {adder}.json" for adder in ADDERS[:2]
    )
    refused = north.tried(restore.format("early.tar"))
    assert refused.returncode == 1 and "forgotten what was spent" in refused.stderr, refused.stderr
    assert not (north.folder / "state").exists()
    north.told(restore.format("late.tar"))
    north.begin("consilium hospital start --config hospital.toml")
    until(lambda: north.tried("consilium hospital status --config hospital.toml").returncode == 0)
    assert "second" in north.told("consilium requests list --state $FOLDER")


def test_a_hospital_that_nobody_can_connect_to_is_found_at_a_relay(network: Network) -> None:
    """After the studies before: one of the hospitals closes its port, and a relay comes on a host of its own."""
    ada, west = network.hosts["ada"], network.hosts["west"]
    relay = Host(name="relay", number=99, folder=ada.folder.parent / "relay")
    network.hosts["relay"] = relay
    relay.switch_on()
    shutil.copy(west.folder / "state" / "tls.crt", relay.folder / "west.crt")
    door, found_at = f"{relay.ip}:8600", f"{relay.ip}:8601"
    relay.told(
        f"consilium relay init --config relay.toml --name relay --home state --address {door}"
    )
    relay.told(
        "consilium relay add --config relay.toml --hospital west --certificate west.crt --port 8601"
    )
    relay.begin("consilium relay start --config relay.toml")
    until(lambda: "carries for west" in relay.said(0))
    shutil.copy(relay.folder / "state" / "tls.crt", west.folder / "relay.crt")

    west.told("consilium hospital stop --config hospital.toml")
    file = west.folder / "hospital.toml"
    text = file.read_text().replace(f"{west.ip}:8443", found_at)
    file.write_text(f'{text}relay = "{door}"\nrelay_certificate = "relay.crt"\n')
    west.begin("consilium hospital start --config hospital.toml")
    until(lambda: west.tried("consilium hospital status --config hospital.toml").returncode == 0)
    assert not west.told("ss -Htln | grep -v 127.0.0.1 || true"), "nobody can connect to it"
    check_users(west)
    relayed = (
        "consilium hospital invite eve@university.example --config hospital.toml --out eve.json"
    )
    west.told(relayed)
    network.hand("eve.json", west, ada)
    ada.told("consilium researcher init --credentials eve.cred.json")
    ada.told("consilium researcher join eve.json --credentials eve.cred.json")
    code = (
        "from federation.researcher.session import Researcher\n"
        "print(Researcher.connect('eve.cred.json').catalogue()[0].hospital)\n"
    )
    (ada.folder / "eve.py").write_text(code)
    assert ada.told("python eve.py").strip() == "west"
    told = relay.told("ps -eo uid=,args=")
    assert not [line for line in told.splitlines() if "python" in line and line.split()[0] == "0"]
