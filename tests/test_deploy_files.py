"""Images, compose and Kubernetes files: nothing is root for longer than a start, and all that they name is there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from datasites.hospital import hospital_file
from datasites.site_users import FIRST_USER
from federation.aggregator import config as aggregator_config
from federation.aggregator.config import AggregatorConfig

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
IMAGES = sorted(DEPLOY.glob("Containerfile.*"))
CLUSTERS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
AGGREGATOR = AggregatorConfig(name="a", home="a", port=0).user
USERS = {FIRST_USER + 1, FIRST_USER + 2, FIRST_USER + 3, AGGREGATOR}
"""The owner, the vault, the front desk; an aggregator."""


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.suffix)
def test_an_image_ends_as_a_user_of_its_own_and_copies_what_is_there(path: Path) -> None:
    stages = re.split(r"^FROM ", path.read_text(), flags=re.M)[1:]
    assert len(stages) == 2, "built in one stage, run in another"
    user = re.findall(r"^USER (\d+)", stages[1], re.M)
    assert user and int(user[-1]) > 1000
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(), re.M):
        for source in sources.split():
            assert (ROOT / source).exists(), source


def test_the_images_numbers_are_the_codes() -> None:
    hospital = (DEPLOY / "Containerfile.hospital").read_text()
    named = {name: int(n) for name, n in re.findall(r"(owner|vault|desk):(\d+)", hospital)}
    assert list(named.values()) == [FIRST_USER + 1, FIRST_USER + 2, FIRST_USER + 3]
    assert f"--gid {FIRST_USER} consilium" in hospital
    assert f"USER {AGGREGATOR}:" in (DEPLOY / "Containerfile.aggregator").read_text()


def containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for path in CLUSTERS:
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "StatefulSet":
                pod = document["spec"]["template"]["spec"]
                for kind in ("initContainers", "containers"):
                    for one in pod.get(kind, ()):
                        yield f"{path.stem}-{one['name']}", one, pod


@pytest.mark.parametrize(
    ("one", "pod"), [pytest.param(one, pod, id=name) for name, one, pod in containers()]
)
def test_a_clusters_container_may_do_little(one: dict[str, Any], pod: dict[str, Any]) -> None:
    may = {**pod["securityContext"], **one["securityContext"]}
    assert may["readOnlyRootFilesystem"] and not may["allowPrivilegeEscalation"]
    assert may["capabilities"]["drop"] == ["ALL"]
    assert may["seccompProfile"]["type"] == "RuntimeDefault"
    assert not pod["automountServiceAccountToken"]
    if one["name"] == "make":
        assert one["args"][:2] == ["hospital", "init"]
        return
    assert may["runAsUser"] in USERS and may["runAsNonRoot"]
    assert "add" not in may["capabilities"]


@pytest.mark.parametrize("path", CLUSTERS, ids=lambda path: path.stem)
def test_a_cluster_lets_nothing_out_and_its_file_is_one_that_can_be_read(
    path: Path, tmp_path: Path
) -> None:
    documents = {d["kind"]: d for d in yaml.safe_load_all(path.read_text())}
    policy = documents["NetworkPolicy"]["spec"]
    assert policy["egress"] == [] and set(policy["policyTypes"]) == {"Ingress", "Egress"}
    labels = documents["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert documents["Service"]["spec"]["selector"] == labels
    ((name, text),) = documents["ConfigMap"]["data"].items()
    (tmp_path / name).write_text(text)
    load = hospital_file.load if path.stem == "hospital" else aggregator_config.load
    found = load(tmp_path / name)
    assert found.port == policy["ingress"][0]["ports"][0]["port"]


def test_compose_has_three_of_each_and_none_is_root_but_to_make_a_folder() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    kinds = {name: re.sub(r"(north|south|west)|\d", "", name).strip("-") for name in services}
    for kind in ("make", "vault", "desk", "owner", "adder"):
        assert list(kinds.values()).count(kind) == 3, kind
    for name, one in services.items():
        assert one["read_only"] and one["cap_drop"] == ["ALL"], name
        if kinds[name] == "make":
            assert (one["user"], one["network_mode"]) == ("0:0", "none")
            continue
        assert "no-new-privileges:true" in one["security_opt"], name
        assert "cap_add" not in one
        if kinds[name] != "adder":
            assert int(one["user"].split(":")[0]) in USERS
        if kinds[name] == "vault":
            assert one["network_mode"] == "none" and "ports" not in one
