"""A plan that can't be read is read once, however often its request is listed."""

import json
from pathlib import Path

import pytest

from datasites.owner.owner import Owner
from datasites.owner.refused_plans import MOST_REMEMBERED, RefusedPlans
from datasites.protocol.code_request import CodeRequest
from datasites.review.evidence import Evidence
from syft_code import canonical
from syft_code.errors import Refused
from syft_code.plans import traveller
from tests.datasites.hospitals import OneHospital


@pytest.fixture
def hospital(tmp_path: Path) -> OneHospital:
    return OneHospital(home=tmp_path / "hospital-1")


BAD = b'{"hospitals":[' + b",".join([b"{}"] * 5000) + b"]}"


def request_for(plan_hash: str) -> Evidence:
    return Evidence(
        request=CodeRequest(
            id="1", researcher="alice", code=traveller.source(plan_hash), status="pending"
        ),
        hospital="hospital-1",
        approval_days=30.0,
    )


class Desk:
    """A front desk that gives these bytes for any plan, until it has none."""

    data: bytes | None = BAD

    def plan(self, plan_hash: str) -> bytes:
        if self.data is None:
            raise Refused("There is no such blob here.")
        return self.data


def owner_before(hospital: OneHospital, desk: Desk) -> Owner:
    owner = Owner(hospital.home)
    owner.__dict__["_desk"] = desk
    return owner


def test_what_was_no_plan_once_is_not_read_again(hospital: OneHospital) -> None:
    evidence = request_for(canonical.sha256(BAD))
    desk = Desk()
    first = owner_before(hospital, desk).weigh(evidence).problem
    assert first.startswith("A plan must be well formed")
    desk.data = None
    assert owner_before(hospital, desk).weigh(evidence).problem == first


def test_bytes_under_the_hash_of_another_plan_are_not_held_against_it(
    hospital: OneHospital,
) -> None:
    """Else a front desk that was taken could have a good plan refused for good."""
    good, desk = hospital.plan(), Desk()
    owner, evidence = owner_before(hospital, desk), request_for(good.hash)
    assert "not the one that the code names" in owner.weigh(evidence).problem
    desk.data = good.encode()
    assert (
        "plan" not in owner.weigh(evidence).problem
    )  # the vault, which does not run here, is next


def test_another_version_reads_them_again_and_of_many_the_newest_stay(tmp_path: Path) -> None:
    refused = RefusedPlans(tmp_path)
    for number in range(MOST_REMEMBERED + 1):
        refused.note(str(number), "no")
    assert refused.sentence("0") == "" and refused.sentence(str(MOST_REMEMBERED)) == "no"
    (path,) = tmp_path.iterdir()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "0"}))
    assert refused.sentence("1") == ""


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"version":1}', b"\xff"])
def test_a_file_that_nobody_wrote_so_says_nothing(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "refused_plans.json").write_bytes(text)
    assert RefusedPlans(tmp_path).sentence("1") == ""
