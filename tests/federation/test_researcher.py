"""What hospitals ask is known before a study is written, and what they answer is read strictly."""

import dataclasses

import pytest
from nacl.signing import SigningKey

from federation import client, researcher, views
from federation.client import HospitalClient
from federation.researcher import Credentials, Researcher
from syft_code import canonical
from syft_code.catalogue import AssetCard, Terms
from syft_code.errors import BudgetExceeded, InvalidMessage, NotApproved, Refused
from syft_code.messages import NO_PART, Ticket
from tests.plans import SKIN, TINY, Keys, plan

TERMS = Terms(epsilon=8.0, delta=1e-5, min_noise_multiplier=0.5, min_patients=10)


@dataclasses.dataclass(kw_only=True)
class Desk:
    """A hospital with one asset, and its terms."""

    name: str
    asset: str
    asked: Terms
    key: SigningKey

    def catalogue(self) -> list[AssetCard]:
        return [
            AssetCard(
                hospital=self.name,
                verify_key=self.key.verify_key.encode().hex(),
                asset=self.asset,
                version=1,
                patients=40,
                held_out=True,
                spec=SKIN,
            )
        ]

    def terms(self) -> Terms:
        return self.asked


@pytest.fixture
def someone(monkeypatch: pytest.MonkeyPatch) -> Researcher:
    keys = Keys()
    asked = {"berlin": 3, "lisbon": 4, "oslo": 3, "vienna": 3, "elsewhere": 9}
    desks = {
        name: Desk(
            name=name,
            asset="brains" if name == "elsewhere" else "skin",
            asked=dataclasses.replace(TERMS, min_hospitals=least),
            key=SigningKey.generate(),
        )
        for name, least in asked.items()
    }
    monkeypatch.setattr(researcher, "HospitalClient", lambda name: desks[name])
    monkeypatch.setattr(researcher, "AggregatorClient", lambda entry: entry)
    return Researcher(
        Credentials(
            accounts=tuple(desks),  # type: ignore[arg-type]
            aggregators=plan(keys).aggregators,
            signing_key=keys.researcher.encode().hex(),
        )
    )


def choices() -> dict[str, object]:
    some = plan()
    return {
        "study": "s",
        "asset": "skin",
        "recipe": TINY,
        "dp_sgd": some.dp_sgd,
        "optimizer": some.optimizer,
        "rounds": 2,
    }


def test_a_plan_hides_each_hospital_among_the_most_that_any_of_them_asks(
    someone: Researcher,
) -> None:
    study = someone.study(**choices())
    assert [h.name for h in study.plan.hospitals] == ["berlin", "lisbon", "oslo", "vienna"]
    assert study.plan.min_hospitals == 4
    assert someone.study(**choices(), min_hospitals=3).plan.min_hospitals == 3


def test_terms_stand_beside_the_cards(someone: Researcher) -> None:
    terms = someone.terms() | {
        "oslo": dataclasses.replace(TERMS, study_epsilon=6.0, recipes=("layers",), approvers=2)
    }
    table = views.catalogue(someone.catalogue(), terms)
    oslo, lisbon = table["oslo", "skin v1"], table["lisbon", "skin v1"]
    assert oslo["epsilon in all, for ever"] == "8" and oslo["at delta"] == "1e-05"
    assert oslo["epsilon of one study"] == "6"
    assert lisbon["epsilon of one study"] == "no cap of its own"
    assert (oslo["models"], lisbon["models"]) == ("layers", "layers, unet")
    assert (oslo["people who must approve"], lisbon["least hospitals in a sum"]) == (2, 4)
    assert lisbon["declared training patients"] == 40
    assert len(views._asked(TERMS)) == len(dataclasses.fields(Terms)), "every term is shown"


class Bulk:
    """The one answer of a front desk's policy route."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def policy(self) -> bytes:
        return self._data


def at_oslo(data: bytes) -> HospitalClient:
    found = object.__new__(HospitalClient)
    found.name, found.bulk = "oslo", Bulk(data)  # type: ignore[assignment]
    return found


def test_terms_are_read_strictly() -> None:
    data = canonical.encode(TERMS)
    assert at_oslo(data).terms() == TERMS
    for broken in (
        b"",
        b"{}",
        data + b" ",
        data.replace(b"8.0", b"8"),
        data.replace(b"8.0", b"-8.0"),
        data.replace(b'"min_hospitals":3', b'"min_hospitals":2'),
        data.replace(b'"approvers":1', b'"approvers":1,"more":1'),
    ):
        with pytest.raises(InvalidMessage, match="terms of oslo"):
            at_oslo(broken).terms()


def test_a_denied_request_and_a_pending_one_are_the_same_no() -> None:
    said = [
        str(client._refusal(f"Your code is waiting: UserCodeStatus.{status}"))
        for status in ("PENDING", "DENIED")
    ]
    assert said == [NO_PART, NO_PART]
    told = client._refusal("UserCodeStatus.DENIED Reason: Our board says no.")
    assert isinstance(told, NotApproved)
    assert str(told) == f"{NO_PART} The owner's reason: Our board says no."
    other = client._refusal("Too long.")
    assert type(other) is Refused and str(other) == "Too long."


def test_a_vaults_answer_is_a_ticket_or_an_error_and_anything_else_is_a_no() -> None:
    ticket = Ticket(
        ticket="t",
        purpose="train",
        round=1,
        state="queued",
        step=0,
        steps=3,
        epsilon=1.0,
        delta=1e-5,
    )
    packed = {"kind": "ticket", "ticket": canonical.encode(ticket).decode()}
    assert client._ticket(packed) == ticket
    with pytest.raises(BudgetExceeded, match="Spent"):
        client._ticket({"kind": "failure", "error": "BudgetExceeded", "sentence": "Spent."})
    for strange in (None, [], {"kind": "mock"}, {"error": "require", "sentence": NO_PART}):
        with pytest.raises(Refused, match=NO_PART):
            client._ticket(strange)
    for strange in ({"kind": "ticket"}, {"kind": "ticket", "ticket": 3}):
        with pytest.raises(InvalidMessage):
            client._ticket(strange)
