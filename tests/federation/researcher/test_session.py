"""What hospitals ask is known before a study is written, and what they answer is read strictly."""

import dataclasses
import socket
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from nacl.signing import SigningKey

from datasites.data import mock_cohort
from federation.reporting import notebook_views
from federation.researcher import session, syft_client
from federation.researcher.session import Researcher
from federation.researcher.storage.credentials import Credentials, HospitalLogin
from federation.researcher.storage.kept_studies import PLAN, PROGRESS, KeptStudies, Progress
from federation.researcher.syft_client import HospitalClient
from syft_code import canonical
from syft_code.cohort import Cohort
from syft_code.errors import (
    BudgetExceeded,
    InvalidInput,
    InvalidMessage,
    InvalidPlan,
    NotApproved,
    Refused,
    Unavailable,
)
from syft_code.local_training import broadcast
from syft_code.local_training.broadcast import PublicVectors
from syft_code.plans.catalogue import AssetCard, Terms
from syft_code.plans.messages import NO_PART, Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import ReleaseSchedule
from syft_code.privacy import accounting
from tests.plans import SKIN, TINY, Keys, plan

TERMS = Terms(epsilon=8.0, delta=1e-5, min_noise_multiplier=0.5, min_patients=10)


@dataclasses.dataclass(kw_only=True)
class Desk:
    """A hospital with one asset, and its terms."""

    name: str
    asset: str
    asked: Terms
    key: SigningKey
    here: bool = True
    url: str = "http://127.0.0.1:1"
    requests: list[Plan] = dataclasses.field(default_factory=list)

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

    def mock(self, asset: str) -> Cohort:
        return mock_cohort.draw(SKIN, seed=1, slices=20)

    def submit(self, asked: Plan) -> None:
        self.requests.append(asked)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def desks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Desk]:
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
    monkeypatch.setattr(session, "HospitalClient", lambda name, must_answer: desks[name])
    monkeypatch.setattr(
        session, "AggregatorClient", lambda entry: SimpleNamespace(aggregator=entry)
    )
    return desks


@pytest.fixture
def someone(desks: dict[str, Desk], keys: Keys) -> Researcher:
    return log_in(desks, keys)


def log_in(desks: dict[str, Desk], keys: Keys, *, studies: KeptStudies | None = None) -> Researcher:
    return Researcher(
        Credentials(
            accounts=tuple(desks),  # type: ignore[arg-type]
            aggregators=plan(keys).aggregators,
            signing_key=keys.researcher.encode().hex(),
        ),
        studies=studies,
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
        "release_schedule": None,
    }


def test_a_plan_hides_each_hospital_among_the_most_that_any_of_them_asks(
    someone: Researcher,
) -> None:
    study = someone.study(**choices())
    assert [h.name for h in study.plan.hospitals] == ["berlin", "lisbon", "oslo", "vienna"]
    assert study.plan.min_hospitals == 4
    assert someone.study(**choices(), min_hospitals=3).plan.min_hospitals == 3


def test_a_study_has_a_release_schedule_that_its_work_fits_unless_none_is_wanted(
    desks: dict[str, Desk], keys: Keys
) -> None:
    chosen = choices()
    del chosen["release_schedule"]
    here = log_in(desks, keys).study(**chosen).plan.release_schedule
    desks["oslo"].url = "https://oslo.example"
    elsewhere = log_in(desks, keys).study(**chosen).plan.release_schedule
    assert here is not None and here.train_s >= 0.2
    assert elsewhere is not None and elsewhere.train_s >= 0.2
    own = ReleaseSchedule(train_s=7.0, evaluate_s=9.0, ticks=1)
    assert (
        log_in(desks, keys).study(**(chosen | {"release_schedule": own})).plan.release_schedule
        == own
    )
    assert log_in(desks, keys).study(**choices()).plan.release_schedule is None


def test_a_study_within_an_epsilon_gets_its_noise_from_the_strictest_terms(
    desks: dict[str, Desk], someone: Researcher
) -> None:
    desks["oslo"].asked = dataclasses.replace(desks["oslo"].asked, delta=1e-6)
    planned = someone.study(**choices(), epsilon=3.0).plan
    events = accounting.plan_events(planned)
    assert 2.97 < accounting.epsilon(events, delta=1e-6) <= 3.0
    desks["berlin"].asked = dataclasses.replace(desks["berlin"].asked, min_noise_multiplier=7.5)
    assert someone.study(**choices(), epsilon=3.0).plan.dp_sgd.noise_multiplier == 7.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.1}, "which is not learning_rate"),
        ({"hospitals": ()}, "which is not hospitals"),
        ({"rounds": "two"}, "in rounds, Input should be a valid integer, got str"),
        ({"algorithm": "scaffold"}, "in algorithm"),
    ],
)
def test_a_choice_that_a_plan_does_not_have_is_refused_in_a_sentence(
    someone: Researcher, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidPlan, match=words):
        someone.study(**(choices() | changes))
    without = {name: value for name, value in choices().items() if name != "recipe"}
    with pytest.raises(InvalidPlan, match="lacks recipe"):
        someone.study(**without)


def test_start_weights_are_handed_in_with_a_study_and_when_it_is_taken_up_again(
    someone: Researcher,
) -> None:
    start = np.linspace(-1, 1, 147).astype(np.float32)
    mine = PublicVectors(start=start)
    study = someone.study(**choices(), start_sha256=broadcast.sha256(start), public=mine)
    assert np.array_equal(study._first.weights, start)
    assert np.array_equal(someone.resume(study.plan, public=mine)._first.weights, start)
    with pytest.raises(InvalidInput, match="start must be the vector"):
        someone.resume(study.plan)


def test_a_front_desk_that_is_away_is_left_out_until_it_answers(
    desks: dict[str, Desk], keys: Keys
) -> None:
    desks["lisbon"].here = False
    someone = log_in(desks, keys)
    assert someone.away == ("lisbon",)
    study = someone.study(**choices())
    assert [h.name for h in study.plan.hospitals] == ["berlin", "oslo", "vienna"]
    desks["lisbon"].here = True
    assert someone.away == ()
    assert "lisbon" in {card.hospital for card in someone.catalogue()}


def test_a_researcher_whom_no_front_desk_answers_is_told_so(
    desks: dict[str, Desk], keys: Keys
) -> None:
    for desk in desks.values():
        desk.here = False
    with pytest.raises(Unavailable, match="At least one of 5 front desks"):
        log_in(desks, keys)


def test_a_study_is_taken_up_again_by_its_plan_also_while_a_hospital_is_away(
    desks: dict[str, Desk], keys: Keys
) -> None:
    plan = log_in(desks, keys).study(**choices()).plan
    desks["lisbon"].here = False
    again = log_in(desks, keys)
    study = again.resume(Plan.decode(plan.encode()))
    assert [one.name for one in study._hospitals] == [entry.name for entry in plan.hospitals]
    with pytest.raises(InvalidInput, match="whom its plan names"):
        log_in(desks, Keys()).resume(plan)
    stranger = dataclasses.replace(plan.hospitals[0], name="paris", verify_key="ab" * 32)
    longer = dataclasses.replace(plan, hospitals=(*plan.hospitals, stranger))
    with pytest.raises(InvalidInput, match="account at each of its hospitals"):
        again.resume(longer)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"min_noise_multiplier": 9.0}, "noise"),
        ({"recipes": ("unet",)}, "model"),
        ({"epsilon": 0.5}, "Epsilon would reach"),
        ({"study_epsilon": 0.5}, "study"),
        ({"min_patients": 41}, "patients"),
        ({"min_aggregators": 5}, "aggregators"),
        ({"min_hospitals": 9}, "hospitals"),
    ],
)
def test_what_terms_would_refuse_is_known_before_anybody_is_asked(
    desks: dict[str, Desk], someone: Researcher, terms: dict[str, object], words: str
) -> None:
    asked = choices() | {"release_schedule": ReleaseSchedule(train_s=1.0, evaluate_s=1.0)}
    study = someone.study(**asked)  # type: ignore[arg-type]
    assert study.refusals() == {}
    desks["oslo"].asked = dataclasses.replace(desks["oslo"].asked, **terms)  # type: ignore[arg-type]
    (reason,) = study.refusals().values()
    assert list(study.refusals()) == ["oslo"] and words in reason
    assert all(not desk.requests for desk in desks.values())


@pytest.fixture
def studies(tmp_path: Path) -> KeptStudies:
    return KeptStudies(tmp_path / "studies")


@pytest.mark.parametrize("made", ["by the mock", "none"])
def test_a_submitted_study_goes_on_by_its_name_and_by_the_same_choices_in_a_new_session(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies, made: str
) -> None:
    asked = {k: v for k, v in choices().items() if made == "none" or k != "release_schedule"}
    first = log_in(desks, keys, studies=studies).study(**asked)  # type: ignore[arg-type]
    assert list(studies) == [], "what went to nobody is not kept"
    first.submit()
    again = log_in(desks, keys, studies=studies)
    assert again.study("s").plan == first.plan
    assert again.study(**asked).plan == first.plan  # type: ignore[arg-type]
    assert [one.plan for one in again.studies()] == [first.plan]
    with pytest.raises(InvalidInput, match="submitted with another plan"):
        again.study(**(asked | {"rounds": 3}))  # type: ignore[arg-type]
    del desks["oslo"].requests[:]
    again.study("s").submit()
    assert desks["oslo"].requests == [first.plan]


def test_a_kept_study_has_the_vectors_that_it_was_made_with(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies
) -> None:
    start = np.linspace(-1, 1, 147).astype(np.float32)
    asked = choices() | {"start_sha256": broadcast.sha256(start)}
    mine = PublicVectors(start=start)
    log_in(desks, keys, studies=studies).study(**asked, public=mine).submit()  # type: ignore[arg-type]
    again = log_in(desks, keys, studies=studies).study("s")
    assert np.array_equal(again._first.weights, start)


@pytest.mark.parametrize("kept", [True, False])
def test_a_study_that_is_not_kept_can_not_be_taken_up_by_its_name(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies, kept: bool
) -> None:
    someone = log_in(desks, keys, studies=studies if kept else None)
    someone.study(**choices()).submit()  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="submitted from here, and there is none"):
        someone.study("t")
    assert len(someone.studies()) == kept


@pytest.mark.parametrize("file", [PLAN, PROGRESS])
@pytest.mark.parametrize("bytes_", [b"", b"{}x", b"\xff"])
def test_a_kept_study_that_was_damaged_is_said_to_be(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies, file: str, bytes_: bytes
) -> None:
    someone = log_in(desks, keys, studies=studies)
    someone.study(**choices()).submit()  # type: ignore[arg-type]
    (kept,) = studies
    (kept.folder / file).write_bytes(bytes_)
    with pytest.warns(UserWarning, match="can't be read"):
        assert notebook_views.studies(someone.studies()).empty
    if file == PLAN:
        with pytest.raises(InvalidInput, match="can't be read"):
            someone.study("s")


def test_another_studys_files_under_a_name_are_not_that_study(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies
) -> None:
    someone = log_in(desks, keys, studies=studies)
    someone.study(**choices()).submit()  # type: ignore[arg-type]
    (studies.folder / "s").rename(studies.folder / "t")
    with pytest.raises(InvalidInput, match="its plan is of study 's'"):
        someone.study("t")


def test_a_kept_plan_is_never_another(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies
) -> None:
    someone = log_in(desks, keys, studies=studies)
    first = someone.study(**choices())  # type: ignore[arg-type]
    second = someone.study(**(choices() | {"rounds": 3}))  # type: ignore[arg-type]
    first.submit()
    with pytest.raises(InvalidInput, match="Another plan is kept as study 's'"):
        second.submit()
    assert someone.study("s").plan == first.plan
    assert len(desks["oslo"].requests) == 1, "nobody was asked"


def test_a_study_that_reached_nobody_is_not_kept(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(desk: Desk, asked: Plan) -> None:
        raise Unavailable(f"The front desk of {desk.name} is away.")

    someone = log_in(desks, keys, studies=studies)
    monkeypatch.setattr(Desk, "submit", away)
    with pytest.raises(Unavailable, match="reached 0"):
        someone.study(**choices()).submit()  # type: ignore[arg-type]
    assert someone.studies() == [] and not list(studies.folder.iterdir())


def test_a_study_that_went_out_stays_kept_when_it_is_submitted_again_and_nobody_answers(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(desk: Desk, asked: Plan) -> None:
        raise Unavailable(f"The front desk of {desk.name} is away.")

    study = log_in(desks, keys, studies=studies).study(**choices())  # type: ignore[arg-type]
    study.submit()
    with monkeypatch.context() as offline, pytest.raises(Unavailable, match="reached 0"):
        offline.setattr(Desk, "submit", away)
        study.submit()
    assert log_in(desks, keys, studies=studies).study("s").plan == study.plan


@pytest.mark.parametrize("name", ["", "../skin", "/etc", "..", "Skin", "皮膚", "x" * 64])
def test_no_study_is_looked_for_outside_the_folder(
    desks: dict[str, Desk], keys: Keys, studies: KeptStudies, name: str
) -> None:
    with pytest.raises(InvalidPlan, match="study"):
        log_in(desks, keys, studies=studies).study(name)


def test_the_list_of_studies_says_how_far_each_came(keys: Keys, studies: KeptStudies) -> None:
    kept = studies.new(plan(keys), PublicVectors())
    kept.note(Progress(rounds=1))
    assert not studies.folder.exists(), "nothing is kept before it is submitted"
    kept.keep()
    kept.note(Progress(rounds=2, epsilon=1.234, stopped="Too few."))
    table = notebook_views.studies(studies)
    (row,) = table.to_dict("records")
    assert table.index.tolist() == [plan(keys).study]
    assert (row["rounds"], row["epsilon"]) == (f"2 of {plan(keys).rounds}", "1.24")
    assert row["stopped"] == "Too few."


def account(port: int) -> HospitalLogin:
    url = f"http://127.0.0.1:{port}"
    return HospitalLogin(hospital="oslo", url=url, email="a@example.org", password="secret")


@pytest.mark.servers
def test_a_hospital_that_does_not_answer_is_known_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(Unavailable, match="front desk of oslo does not answer"):
            HospitalClient(account(port))
        oslo = HospitalClient(account(port), must_answer=False)
        assert not oslo.here
        with pytest.raises(Unavailable, match="front desk of oslo does not answer"):
            oslo.has_approved("ab" * 32)
    entered = syft_client._Entered(client=None, bulk=Bulk(canonical.encode(TERMS)))  # type: ignore[arg-type]
    monkeypatch.setattr(syft_client, "_entered", lambda account: entered)
    assert oslo.terms() == TERMS and oslo.here


@pytest.mark.servers
def test_a_silent_front_desk_does_not_hold_a_login_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syft_client, "ANSWER", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(Unavailable, match="does not answer"),
    ):
        HospitalClient(account(silent.getsockname()[1]))


def test_terms_stand_beside_the_cards(someone: Researcher) -> None:
    terms = someone.terms() | {
        "oslo": dataclasses.replace(TERMS, study_epsilon=6.0, recipes=("layers",), approvers=2)
    }
    table = notebook_views.catalogue(someone.catalogue(), terms)
    oslo, lisbon = table["oslo", "skin v1"], table["lisbon", "skin v1"]
    assert oslo["epsilon in all, for ever"] == "8" and oslo["at delta"] == "1e-05"
    assert oslo["epsilon of one study"] == "6"
    assert lisbon["epsilon of one study"] == "no cap of its own"
    assert (oslo["models"], lisbon["models"]) == ("layers", "layers, fusion, unet, encoder_decoder")
    assert (oslo["people who must approve"], lisbon["least hospitals in a sum"]) == (2, 4)
    assert lisbon["declared training patients"] == 40
    assert len(notebook_views._asked(TERMS)) == len(dataclasses.fields(Terms)), (
        "every term is shown"
    )


class Bulk:
    """The one answer of a front desk's policy route."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def policy(self) -> bytes:
        return self._data


def at_oslo(data: bytes) -> HospitalClient:
    found = object.__new__(HospitalClient)
    found.name, found._entering = "oslo", threading.Lock()
    found._entered = syft_client._Entered(client=None, bulk=Bulk(data))  # type: ignore[arg-type]
    return found


def test_terms_are_read_strictly() -> None:
    data = canonical.encode(TERMS)
    assert at_oslo(data).terms() == TERMS
    for broken in (
        b"",
        b"{}",
        data + b" ",
        data.replace(b'"epsilon":8', b'"epsilon":8.0'),
        data.replace(b'"epsilon":8', b'"epsilon":-8'),
        data.replace(b'"min_hospitals":3', b'"min_hospitals":2'),
        data.replace(b'"approvers":1', b'"approvers":1,"more":1'),
    ):
        with pytest.raises(InvalidMessage, match="terms of oslo"):
            at_oslo(broken).terms()


def test_a_denied_request_and_a_pending_one_are_the_same_no() -> None:
    said = [
        str(syft_client._refusal(f"Your code is waiting: UserCodeStatus.{status}"))
        for status in ("PENDING", "DENIED")
    ]
    assert said == [NO_PART, NO_PART]
    told = syft_client._refusal("UserCodeStatus.DENIED Reason: Our board says no.")
    assert isinstance(told, NotApproved)
    assert str(told) == f"{NO_PART} The owner's reason: Our board says no."
    other = syft_client._refusal("Too long.")
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
        epsilon_alone=1.0,
        delta=1e-5,
    )
    packed = {"kind": "ticket", "ticket": canonical.encode(ticket).decode()}
    assert syft_client._ticket(packed) == ticket
    with pytest.raises(BudgetExceeded, match="Spent"):
        syft_client._ticket({"kind": "failure", "error": "BudgetExceeded", "sentence": "Spent."})
    for strange in (None, [], {"kind": "mock"}, {"error": "require", "sentence": NO_PART}):
        with pytest.raises(Refused, match=NO_PART):
            syft_client._ticket(strange)
    for strange in ({"kind": "ticket"}, {"kind": "ticket", "ticket": 3}):
        with pytest.raises(InvalidMessage):
            syft_client._ticket(strange)
