"""The front desk's way to the vault: a plan is offered, and every no is a quiet one."""

from pathlib import Path
from typing import Any

import pytest

from datasites.desk import entrypoint
from datasites.desk.storage.blobs import BlobStore
from datasites.protocol import vault_api
from datasites.site import Site
from syft_code.errors import ConsiliumError, NotApproved, Unavailable
from syft_code.plans import traveller
from tests.plans import plan

PLAN = plan()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A hospital's folder to whose front desk a researcher has uploaded the plan."""
    home = Site(tmp_path)
    home.desk.mkdir()
    BlobStore(home.desk / "blobs").room("ab" * 32).put(PLAN.hash, PLAN.encode())
    return home


def answering(monkeypatch: pytest.MonkeyPatch, reply: Any) -> list[Any]:
    """A vault that gives one answer, and what it was asked."""
    asked: list[Any] = []

    def ask(vault_home: Path, request: object, body: bytes = b"", **_: object) -> tuple[Any, bytes]:
        asked.append((vault_home, request, body))
        if isinstance(reply, ConsiliumError):
            raise reply
        return reply, b""

    monkeypatch.setattr(vault_api, "ask", ask)
    return asked


def test_the_vault_is_offered_the_bytes_that_the_researcher_uploaded(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, vault_api.Accepted())
    assert entrypoint.offer_plan(site, PLAN.hash)
    text = PLAN.encode().decode("ascii")
    assert asked == [(site.vault, vault_api.OfferPlan(plan=text), b"")]


@pytest.mark.parametrize(
    "reply",
    [
        NotApproved("No standing approval covers this plan."),
        Unavailable("The hospital's vault does not answer."),
        vault_api.Accepted(missing=1),
        vault_api.Healthy(verify_key="ab" * 32),
    ],
)
def test_any_answer_but_a_whole_yes_leaves_the_request_to_the_owner(
    site: Site, monkeypatch: pytest.MonkeyPatch, reply: Any
) -> None:
    answering(monkeypatch, reply)
    assert not entrypoint.offer_plan(site, PLAN.hash)


def test_a_plan_that_nobody_uploaded_is_not_offered(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, vault_api.Accepted())
    assert not entrypoint.offer_plan(site, "cd" * 32)
    assert not asked


def test_the_vault_vouches_for_a_plan_that_is_in_force(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, vault_api.PlanInForce(in_force=True))
    assert entrypoint.is_in_force(site, traveller.source(PLAN.hash))
    assert asked == [(site.vault, vault_api.GetPlanInForce(plan_hash=PLAN.hash), b"")]
    assert not entrypoint.is_in_force(site, "import os"), "no traveller, so no plan"


@pytest.mark.parametrize(
    "reply",
    [
        vault_api.PlanInForce(in_force=False),
        Unavailable("The hospital's vault does not answer."),
        vault_api.Accepted(),
    ],
)
def test_any_other_answer_vouches_for_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, reply: Any
) -> None:
    answering(monkeypatch, reply)
    assert not entrypoint.is_in_force(site, traveller.source(PLAN.hash))
