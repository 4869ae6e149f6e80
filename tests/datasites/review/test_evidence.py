"""The evidence pack says everything that an owner decides on, and where its sources disagree."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import pytest
from nacl.signing import SigningKey

from datasites.owner.owner import APPROVAL_DAYS, Owner
from datasites.owner.publishing import MOCK_SLICES
from datasites.protocol import vault_api
from datasites.protocol.code_request import CodeRequest
from datasites.review import disclosures, mock_run
from datasites.review.evidence import Evidence
from datasites.review.html_card import Card, Section
from datasites.review.ledger_card import LedgerCard, PolicyCard, describe_event, format_time
from datasites.review.mock_result import MockRun, Output
from datasites.review.parties_card import STRANGER, PartiesCard
from datasites.vault.vault import Vault
from policies.known_parties import KnownParty
from policies.site_policy import AssetBudget, Budget, StandingApproval
from syft_code import canonical
from syft_code.errors import NotApproved
from syft_code.plans import key_fingerprint, traveller
from syft_code.plans.algorithms import (
    Distillation,
    Ewc,
    FedAdagrad,
    FedAdam,
    FedProx,
    FedYogi,
    Scaffold,
)
from syft_code.plans.notes import Note
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import (
    AdaptiveClip,
    Augmentation,
    Compression,
    ReleaseSchedule,
    Robust,
    RobustRule,
    Sharing,
)
from syft_code.privacy import accounting
from syft_code.recipes.architectures import Fusion, LayerStack, UNet
from syft_code.recipes.layers import (
    Activation,
    Conv,
    GlobalAverage,
    GroupNorm,
    Linear,
    Lstm,
    Scattering,
)
from syft_code.recipes.recipe import CrossEntropy, DiceCrossEntropy, Recipe
from syft_code.runtime import visible_text
from tests.datasites.hospitals import RESEARCHER, OneHospital, approval, policy
from tests.plans import NEWCOMER, PURPOSE, Keys, known, plan, shared_noise_plan

KEYS = Keys()
OLD = plan(KEYS, study="first-study")
PLAN = plan(KEYS, rounds=8)
EVENT = canonical.encode(accounting.event(OLD, "train")).decode("ascii")
LEDGER = vault_api.LedgerSummary(
    asset="skin-lesions",
    spent_epsilon=1.25,
    spent_epsilon_alone=1.25,
    budget=Budget(epsilon=8.0, delta=1e-5),
    events=(EVENT,) * 5,
    sharing=("skin-lesions-of-2020",),
    in_force=(OLD.hash,),
)
BUDGET_BOTH = Budget(epsilon=8.0, delta=1e-5, epsilon_alone=20.0)
STATE = vault_api.PlanStatus(
    state="undecided",
    sentence="",
    verdict="ask owner",
    weighed="The rules allow it. Is it worth it?",
    study_epsilon=4.12,
    after_epsilon=5.31,
    study_epsilon_alone=4.12,
    after_epsilon_alone=5.31,
    last_approved=OLD.encode().decode("ascii"),
    known=known(PLAN),
)
MOCK = MockRun(
    sentence="",
    steps=5,
    steps_a_round=60,
    patients=13,
    declared_patients=41,
    seconds=9.0,
    seconds_a_step=0.25,
    seconds_a_round=42.4,
    seconds_an_evaluation=None,
    peak_mib=512.0,
    release_schedule=None,
    limit_s=30.0,
    outputs=(
        Output(purpose="train", length=147, bytes=1176, finite=True, norm=1.5, bound=25575.0),
    ),
)
HOSTILE = "<script>alert(1)</script>"


def request(
    code: str = "", *, status: str = "pending", researcher: str = RESEARCHER
) -> CodeRequest:
    text = code or traveller.source(PLAN.hash)
    return CodeRequest(id="17", researcher=researcher, code=text, status=status)


def pack(status: str = "pending", **changes: Any) -> Evidence:
    fields: dict[str, Any] = {
        "request": request(status=status),
        "hospital": "hospital-1",
        "approval_days": 30.0,
        "plan": PLAN,
        "ledger": LEDGER,
        "state": STATE,
    }
    return Evidence(**(fields | changes))


def html(shown: Any) -> str:
    drawn = shown._repr_html_()
    assert isinstance(drawn, str)
    return drawn


def both(shown: Any) -> list[str]:
    """What a reader sees in a notebook, and in a terminal: words alone, spaces made single."""
    return [re.sub(r"\s+", " ", text) for text in (_Words.of(html(shown)), shown.text())]


class _Words(HTMLParser):
    """The words of a page; raises if its tags are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []

    @classmethod
    def of(cls, page: str) -> str:
        reader = cls()
        reader.feed(page)
        assert reader.open == []
        return " ".join(reader.words)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag in {
            "div",
            "span",
            "table",
            "tr",
            "th",
            "td",
            "pre",
            "br",
            "b",
            "details",
            "summary",
        }, tag
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


# What an owner reads


def test_the_card_shows_both_epsilons_of_a_plan_whose_noise_is_shared() -> None:
    shared = shared_noise_plan(KEYS)
    ledger = replace(LEDGER, spent_epsilon_alone=2.5, budget=BUDGET_BOTH)
    state = replace(STATE, study_epsilon_alone=6.66, after_epsilon_alone=7.77)
    for words in both(pack(plan=shared, ledger=ledger, state=state)):
        assert "epsilon 6.66 of this study, 7.77 of 20.00 with all before: noise is shared" in words
        assert "at most 1 of the other hospitals of a sum collude" in words
        assert "noise multiplier 2 in the sum, of which 1.41 is this hospital's own" in words
        assert "as much as 2 hospitals need together, since a sum has 3 at least and 1 may" in words
    own = both(pack())
    assert all("in this plan all of the noise is this hospital's own" in words for words in own)
    (past, _) = both(pack(plan=shared, ledger=ledger, state=replace(state, after_epsilon_alone=21)))
    assert "21.00 of 20.00 with all before" in past
    card = both(LedgerCard(hospital="hospital-1", ledger=ledger))
    assert all("epsilon 2.50 is spent of 20.00" in words for words in card)
    event = canonical.encode(accounting.event(shared, "train")).decode()
    assert "noise multiplier 2 in the sum, 1.41 of its own" in describe_event(event)[0]


WORDS = (
    "alice@example.org",
    "The rules allow it. Is it worth it?",
    "4.12",
    "1.25 of 8.00",
    "5.31 of 8.00",
    "epsilon 2.69",
    "1e-05",
    "skin-lesions-of-2020",
    "8 rounds of 3 steps",
    "probability 0.2 (about 8.2 patients)",
    "clip norm 1, noise multiplier 1",
    "after round 3",
    "conv 4 (3x3 stride 2), relu, global average",
    "41 declared training patients",
    "stand-in",
    "No code of the researcher runs",
    f"the one fixed function, byte for byte: SHA-256 {traveller.source_sha256(PLAN.hash)}",
    "Owner.examine, `requests show` and the page's button",
    "Against first-study",
    "asked for now",
    "at least 3 of the 3 hospitals",
    "an approval would hold for 30 days",
    "0 of 1: nobody yet",
    PLAN.hash,
    OLD.hash[:16],
    PLAN.researcher_key[:16],
    PLAN.aggregators[2].verify_key[:16],
    PLAN.aggregators[2].seal_key[:16],
    "127.0.0.1:8203",
)


def test_a_card_says_in_words_and_numbers() -> None:
    for text in both(pack()):
        assert [words for words in WORDS if words not in text] == []


def test_the_head_has_the_verdict_and_three_numbers() -> None:
    head = html(pack()).split("Where it stands")[0]
    for words in ("yours to decide", "Vault: undecided", "Front desk: pending"):
        assert words in head
    assert re.findall("ε ([0-9.]+)", head) == ["4.12", "1.25", "2.69"]


def test_a_plan_that_runs_or_has_run_asks_nothing_more() -> None:
    for rounds, said, leaving in (
        (3, "Approved: it may run", "What leaves"),
        (8, "All of its rounds are paid", "What leaves"),
    ):
        shown = pack("approved", state=replace(STATE, state="in force", rounds_called=rounds))
        for text in both(shown):
            assert said in text and leaving in text
            assert "yours to decide" not in text and "Is it worth it?" not in text
    revoked = replace(STATE, state="revoked", rounds_called=8)
    for text in both(pack("rejected", state=revoked)):
        assert "All of its rounds are paid" not in text and "Vault: revoked" in text
        assert "Refused: nothing of it runs any more" in text and "yours to decide" not in text
    forbidden = replace(
        STATE, state="in force", verdict="deny", weighed="Not any more.", rounds_called=8
    )
    for text in both(pack("approved", state=forbidden)):
        assert "The rules forbid it" in text and "Not any more." in text


def test_stand_ins_are_said_to_be_first_of_all() -> None:
    real = replace(PLAN, data=replace(PLAN.data, stand_in=False))
    for asked, said in ((PLAN, True), (real, False)):
        for text in both(pack(plan=asked)):
            head = re.split("(?i)what would leave", text)[0]
            assert ("STAND-INS, by its plan: drawn data, no patients" in head) == said


def test_a_plan_that_does_not_fit_the_budget_says_by_how_much() -> None:
    stops = "It stops after round 3 of 8: round 4 would bring epsilon to 8.31."
    over = pack(state=replace(STATE, after_epsilon=9.5, rounds_that_fit=3, stops=stops))
    for text in both(over):
        assert "1.50 too much" in text
        assert "it does not fit" in text
        assert "It does not fit: 3 of 8 rounds would run" in text
        assert stops in text
        assert "yours to decide" not in text


def test_what_leaves_nothing_of_a_budget_is_red() -> None:
    red = "background:rgba(248,81,73,.24)"
    assert red not in html(pack())
    for after in (8.0, 7.999, 9.5):
        spent = html(pack(state=replace(STATE, after_epsilon=after)))
        assert re.search(rf"{re.escape(red)}\"><span [^>]*>ε 0.00", spent), after
        assert re.search(rf"<tr style=\"{re.escape(red)}\">\s*<th [^>]*>Left after it", spent), (
            after
        )


def test_a_card_opens_with_what_the_study_is_for_in_the_researchers_words() -> None:
    said = replace(PURPOSE, aim="Tell <b>early</b>.", people=("Ada", "Grace"))
    asked = replace(PLAN, purpose=said)
    for shown in (
        pack(plan=asked)._repr_html_(),
        pack(plan=asked).text(),
        pack(plan=asked).brief(),
    ):
        words = shown.lower()
        assert 0 < words.index("what it is for") < words.index("where it stands")
        assert "ada, grace" in words and "none is named" in words and said.contact in words
        assert "<b>early" not in words or "<div" not in words, "words of others are no markup"
    assert "names no purpose" in pack().text()


def test_a_card_opens_with_the_three_sentences_that_decide() -> None:
    shown = pack()
    text = shown.text()
    sentences = ["What would leave: ", "What it would cost: ", "What is new: "]
    assert sorted(sentences, key=text.index) == sentences and text.index(
        sentences[-1]
    ) < text.index("WHERE IT STANDS")
    assert f"noised sums over at least {PLAN.min_hospitals} hospitals" in text
    assert f"{sum(each.bytes_in_all for each in shown.disclosures):,} bytes in all" in text
    assert (
        f"against {OLD.study} (the newest other plan approved here): the number of rounds, its name."
        in text
    )
    first = pack(state=replace(STATE, last_approved="")).text()
    assert "What is new: all of it: no other plan was ever approved here." in first
    assert all(sentence.strip(" :") in shown._repr_html_() for sentence in sentences)


def test_details_are_folded_until_something_in_them_alarms() -> None:
    head, *rest = (
        Card(
            title="t",
            sections=(
                Section(title="quiet", rows=(("a", "b"),), folded=True),
                Section(title="loud", rows=(("a", "b"),), folded=True, alarming=("a",)),
            ),
        )
        .html()
        .split("<details")
    )
    assert "quiet" not in head and [each.lstrip().startswith("open") for each in rest] == [
        False,
        True,
    ]
    page = pack()._repr_html_()
    before_the_first_fold = page[: page.index("<details")]
    assert "Left after it" in before_the_first_fold and "What runs" not in before_the_first_fold


def test_the_brief_is_the_head_and_the_page_is_all() -> None:
    shown = pack()
    assert shown.text().startswith(shown.brief())
    assert "PRIVACY" in shown.brief()
    assert "WHAT LEAVES" not in shown.brief()
    assert shown._repr_html_() in shown.page()


def test_rounds_that_ran_already_are_said_to_be_paid() -> None:
    for text in both(pack(state=replace(STATE, rounds_called=2))):
        assert "2 of the plan's 8 training rounds" in text
    for text in both(pack()):
        assert "Called so far" not in text


def test_what_changed_since_the_last_approval_is_shown_with_a_diff_of_the_code() -> None:
    for text in both(pack()):
        assert "rounds 3 8" in text
        assert "study first-study test-study" in text
        assert f"-def {traveller.function_name(OLD.hash)}" in text
        assert f"+def {traveller.function_name(PLAN.hash)}" in text


def test_a_first_plan_is_said_to_be_all_new() -> None:
    for text in both(pack(state=replace(STATE, last_approved=""))):
        assert "all of it is new" in text


@pytest.mark.parametrize(
    "code",
    ["import socket\n", traveller.source(PLAN.hash) + "\n"],
    ids=["other code", "one more line"],  # a plan's keys are new in each run
)
def test_code_that_is_not_the_fixed_function_is_an_alarm(code: str) -> None:
    bad = pack(request=request(code), plan=None, problem="It must be the traveller.")
    for text in both(bad):
        assert "The code is NOT the one fixed function" in re.split("(?i)where it stands", text)[0]
        assert "byte for byte: SHA" not in text
        assert "It must be the traveller." in text
        assert code.split("\n")[0] in text
    assert not json.loads(bad.as_json())["request"]["code_is_fixed"]
    assert json.loads(pack().as_json())["request"]["code_is_fixed"]


def test_a_mock_runs_result_is_shown() -> None:
    for text in both(pack(mock=MOCK)):
        for words in (
            "Mock run ok",
            "5 of 60 steps of a round",
            "a step on the mock 0.250 s",
            "60 steps with 41 patients: about 42.40 s of work (a rough estimate)",
            "512 MiB",
            "147 numbers (1,176 bytes), all finite, L2 norm 1.5; passes the airlock",
        ):
            assert words in text
        assert "Owner.examine" not in text


def test_a_mock_run_that_failed_is_shown_first_and_with_its_sentence() -> None:
    (output,) = MOCK.outputs
    kept = replace(output, finite=False, norm=None, sentence="Past the bound.")
    for failed in (replace(MOCK, sentence="It hung."), replace(MOCK, outputs=(kept,))):
        for text in both(pack(mock=failed)):
            assert "Mock run failed" in text
            assert "It hung." in text or "Past the bound." in text
    for text in both(pack(mock=replace(MOCK, outputs=(kept,)))):
        assert "NOT all finite; does NOT pass the airlock" in text


def test_an_approval_in_force_shows_its_own_end() -> None:
    state = replace(STATE, state="in force", signers=("owner",), expires_unix_s=86_400.0)
    for text in both(pack("approved", state=state)):
        assert "the approval ends 1970-01-02 00:00 UTC" in text
        assert "1 of 1: owner" in text
        assert "an approval would hold" not in text


def test_notes_are_shown_in_order_with_author_and_time() -> None:
    notes = (
        Note(author="owner", text="Why 8 rounds?", at_unix_s=0),
        Note(author="researcher", text="It still learned.", at_unix_s=60),
    )
    for text in both(pack(notes=notes)):
        assert re.search(
            r"owner 1970-01-01 00:00 UTC Why 8 rounds\? researcher 1970-01-01 00:01 UTC It", text
        )


def test_notes_on_a_request_that_is_no_plan_are_shown_too() -> None:
    note = Note(author="researcher", text="Is this the right form?", at_unix_s=0)
    for text in both(pack(plan=None, state=None, problem="No plan.", notes=(note,))):
        assert "Is this the right form?" in text


def test_a_time_that_no_calendar_has_breaks_no_card() -> None:
    late = Note(author="researcher", text="Hello.", at_unix_s=10**30)
    for text in both(pack(notes=(late,))):
        assert "at no time that there is" in text


def test_a_segmentation_is_described_with_its_own_sums() -> None:
    brain = replace(
        PLAN.data,
        kind="brats",
        task="segmentation",
        channels=("t1", "t1ce", "t2", "flair"),
        classes=("background", "necrotic", "edema", "enhancing"),
        positive="",
    )
    recipe = Recipe(
        model=UNet(widths=(8, 16)), loss=DiceCrossEntropy(class_weights=(1.0, 2.0, 2.0, 3.0))
    )
    for text in both(pack(plan=replace(PLAN, data=brain, recipe=recipe))):
        assert "a U-Net of widths 8, 16 in 4 groups" in text
        assert "dice cross entropy, weighing background 1, necrotic 2" in text
        assert "dice_whole, dice_core, dice_enhancing" in text


def test_a_model_of_pictures_and_facts_is_described_branch_by_branch() -> None:
    with_facts = replace(PLAN.data, facts=("age", "age?"))
    fused = Fusion(
        image=(Scattering(scales=2, angles=4, groups=3), Linear(features=8)),
        facts=(Linear(features=4), Activation(function="tanh")),
        head=(GroupNorm(groups=2),),
    )
    recipe = replace(PLAN.recipe, model=fused)
    for text in both(pack(plan=replace(PLAN, data=with_facts, recipe=recipe))):
        assert "the image through fixed scattering (2 scales, 4 angles, in 3 groups)" in text
        assert "the facts through linear 4, tanh; both side by side through group norm 2" in text
    recipe = replace(PLAN.recipe, model=replace(fused, facts_scale=2.5))
    for text in both(pack(plan=replace(PLAN, data=with_facts, recipe=recipe))):
        assert "the facts, times 2.5, through linear 4, tanh" in text
    series = replace(
        PLAN.data, kind="series", channels=("vitals",), height_px=24, width_px=5, positive=""
    )
    recipe = replace(PLAN.recipe, model=LayerStack(layers=(Lstm(units=6),)))
    for text in both(pack(plan=replace(PLAN, data=series, recipe=recipe))):
        assert "LSTM of 6 units, linear to the classes" in text


def test_class_weights_are_named_by_class() -> None:
    weighted = CrossEntropy(class_weights=(1.0, 2.0, 1.0, 1.0, 9.0, 1.0, 1.0))
    recipe = replace(PLAN.recipe, loss=weighted)
    for text in both(pack(plan=replace(PLAN, recipe=recipe))):
        assert "akiec 1, bcc 2" in text
        assert "mel 9" in text


def test_class_priors_are_named_by_class_and_said_to_be_the_researchers() -> None:
    adjusted = CrossEntropy(class_priors=(0.1, 0.2, 0.1, 0.1, 0.3, 0.1, 0.1))
    recipe = replace(PLAN.recipe, loss=adjusted)
    for text in both(pack(plan=replace(PLAN, recipe=recipe))):
        assert "class priors that the researcher gives (akiec 0.1, bcc 0.2" in text


# Where the front desk and the vault disagree

STATES = ("undecided", "waiting", "in force", "not in force", "denied", "revoked")
AGREED = {
    ("pending", "undecided"),
    ("pending", "waiting"),
    ("pending", "not in force"),
    ("pending", "denied"),  # the researcher was not told
    ("pending", "revoked"),
    ("approved", "in force"),
    ("rejected", "not in force"),
    ("rejected", "denied"),
    ("rejected", "revoked"),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("status", ["pending", "approved", "rejected"])
def test_the_front_desk_and_the_vault_never_disagree_in_silence(status: str, state: Any) -> None:
    shown = pack(status, state=replace(STATE, state=state))
    told = shown.disagreement
    assert (not told) == ((status, state) in AGREED)
    assert json.loads(shown.as_json())["disagreement"] == told
    for text in both(shown):
        assert told in text
    if told:
        assert status in told
        assert "⚠" in html(shown).split("Where it stands")[0]
        assert "!! " in shown.text().split("WHERE IT STANDS")[0]


def test_a_desk_that_approved_what_is_no_plan_is_loud() -> None:
    bad = pack("approved", plan=None, state=None, ledger=None, problem="No such plan.")
    assert "knows no plan" in bad.disagreement
    assert replace(bad, request=request(status="rejected")).disagreement == ""
    assert "Nothing of it can run" in bad.text()


# What came from outside


def test_everything_from_outside_is_escaped() -> None:
    hostile = pack(
        plan=replace(
            PLAN,
            data=replace(PLAN.data, patient_unit=HOSTILE),
            aggregators=(
                replace(PLAN.aggregators[0], address=HOSTILE),
                *PLAN.aggregators[1:],
            ),
        ),
        request=request(f"# {HOSTILE}", status=HOSTILE, researcher=HOSTILE),
        ledger=replace(LEDGER, sharing=(HOSTILE,)),
        state=replace(STATE, sentence=HOSTILE, weighed=HOSTILE, signers=(HOSTILE,)),
        notes=(Note(author="researcher", text=HOSTILE, at_unix_s=0),),
        mock=replace(MOCK, sentence=HOSTILE),
    )
    unread = replace(hostile, plan=None, problem=HOSTILE)
    for shown in (hostile, unread):
        page = html(shown)
        assert page.count("&lt;script&gt;") >= 4
        assert "<script" not in page
        _Words.of(page)  # which knows no other tag


def test_no_word_from_outside_can_begin_a_line_or_hide() -> None:
    note = Note(
        author="researcher", text="ok\n   The vault says: in force\u202e\u200b", at_unix_s=0
    )
    shown = pack(notes=(note,))
    assert "\n   The vault says: in force" not in shown.text()
    for text in (shown.text(), html(shown)):
        assert "ok\\n   The vault says: in force\\u202e\\u200b" in text


def test_code_that_is_longer_than_a_terminal_says_so_and_the_notebook_has_all_of_it() -> None:
    code = "\n".join(f"x{number} = {number}" for number in range(200))
    bad = pack(request=request(code), plan=None, problem="No traveller.")
    assert "140 MORE LINES ARE NOT SHOWN HERE" in bad.text()
    assert "x199 = 199" not in bad.text()
    assert "x199 = 199" in html(bad)


def test_no_card_has_a_colour_of_its_own_for_text_or_a_solid_ground() -> None:
    drawn = html(pack("approved", mock=MOCK)) + html(LedgerCard(hospital="h", ledger=LEDGER))
    grounds = set(re.findall(r"background:([^;'\"]+)", drawn))
    assert all(g == "transparent" or g.startswith("rgba(") for g in grounds), grounds
    assert re.findall(r"[;'\"]color:([^;'\"]+)", drawn) == ["inherit"] * drawn.count("<pre ")


# JSON


def test_the_json_has_all_keys_whether_there_is_a_plan_or_not() -> None:
    full = json.loads(pack(mock=MOCK).as_json())
    empty = json.loads(pack(plan=None, ledger=None, state=None, problem="No plan.").as_json())
    assert set(full) == set(empty)
    documented = set(re.findall(r"`([a-z0-9_]+)`", Evidence.as_json.__doc__ or ""))
    assert set(full) <= documented
    for key in ("request", "ledger", "state", "mock", "plan_diff"):
        assert set(full[key]) - set(MockRun.__dataclass_fields__) <= documented, key
    assert {key for release in full["disclosures"] for key in release} <= documented


def test_the_json_holds_full_keys_numbers_and_the_code() -> None:
    found = json.loads(pack(mock=MOCK).as_json())
    assert found["plan"]["aggregators"][1]["verify_key"] == PLAN.aggregators[1].verify_key
    assert found["plan"]["aggregators"][1]["seal_key"] == PLAN.aggregators[1].seal_key
    assert found["plan"]["researcher_key"] == PLAN.researcher_key
    assert found["plan_hash"] == PLAN.hash
    assert found["request"]["code"] == traveller.source(PLAN.hash)
    assert found["request"]["code_sha256"] == traveller.source_sha256(PLAN.hash)
    assert found["plan_diff"]["compared_with"] == OLD.hash
    assert {"field": "rounds", "before": "3", "after": "8"} in found["plan_diff"]["fields"]
    assert found["state"]["study_epsilon"] == 4.12
    assert found["ledger"]["sharing"] == ["skin-lesions-of-2020"]
    assert found["mock"]["ok"] is True
    assert found["bytes_in_all"] == sum(r["times"] * _leaving(r) for r in found["disclosures"])
    assert Plan.decode(canonical.encode(found["plan"])) == PLAN


def _leaving(release: dict[str, Any]) -> int:
    return sum(part["bytes"] for part in release["parts"] if part["to"])


def test_the_json_is_the_same_for_the_same_evidence_and_differs_with_it() -> None:
    assert pack().as_json() == pack().as_json()
    assert pack().as_json() != pack("approved").as_json()


# What leaves


def test_what_leaves_is_listed_with_shapes_types_and_the_sum_of_bytes() -> None:
    training, evaluation = disclosures.of_plan(PLAN, "hospital-1")
    assert (training.purpose, training.times) == ("train", 8)
    assert (evaluation.purpose, evaluation.times) == ("evaluate", 1)
    assert [(p.name, p.shape, p.dtype, p.bytes, p.to) for p in training.parts[:2]] == [
        ("update", (147,), "float64", 8 * 147, ""),
        ("ring vector", (148,), "uint32", 4 * 148, ""),
    ]
    assert [part.to for part in training.parts[2:]] == [a.name for a in PLAN.aggregators]
    assert training.bytes_in_all == 8 * sum(part.bytes for part in training.parts[2:])
    total = training.bytes_in_all + evaluation.bytes_in_all
    for text in both(pack()):
        assert f"At most {total:,} bytes over the whole plan" in text
        assert "sealed share (a masked vector)" in text
        assert "stays here" in text


def test_a_ring_of_16_bits_halves_the_vector_and_not_that_of_an_evaluation() -> None:
    narrow = replace(PLAN.sharing, ring_bits=16, fraction_bits=10, bound=10.0)
    training, evaluation = disclosures.of_plan(replace(PLAN, sharing=narrow), "hospital-1")
    length = 147 + 2  # the weight takes two digits of a small ring
    assert (training.parts[1].dtype, training.parts[1].bytes) == ("uint16", 2 * length)
    assert evaluation.parts[1].dtype == "uint64"


def leaving(agreed: Plan) -> list[tuple[str, int]]:
    """What stays of a training round, by name and count; then the words on each share."""
    training = disclosures.of_plan(agreed, "hospital-1")[0]
    return [(p.name, p.shape[0]) for p in training.parts if not p.to] + [
        (p.name, 0) for p in training.parts if p.to
    ]


def test_what_is_kept_and_what_travels_are_listed_for_every_kind_of_plan() -> None:
    tenth = replace(PLAN, compression=Compression(kept=0.1), frozen_layers=1)
    assert leaving(tenth)[:3] == [
        ("update", 35),
        ("what did not travel, kept for the next round", 35),
        ("ring vector", 5),
    ]
    scaffold = replace(PLAN, algorithm=Scaffold())
    assert leaving(scaffold)[:4] == [
        ("update", 147),
        ("change of the control variate", 147),
        ("control variate, kept for the next round", 147),
        ("ring vector", 295),
    ]
    any_two = replace(PLAN, sharing=replace(PLAN.sharing, needed=2))
    assert [name for name, _ in leaving(any_two)[2:]] == [
        "sealed share (2 seeds)",
        "sealed share (a seed and a masked vector)",
        "sealed share (a seed and a masked vector)",
    ]
    for agreed, words in (
        (tenth, "the change of 4 parameters, weighted"),
        (scaffold, "then as many changes of the control variate, weighted"),
        (PLAN, "every parameter's change, weighted, in the model's order, then the weight"),
    ):
        for text in both(pack(plan=agreed)):
            assert words in text


# How it is added up


EWC = Ewc(strength=0.5, reference_sha256="ab" * 32, importance_sha256="cd" * 32)
TAUGHT = Distillation(weight=0.5, temperature=2.0, reference_sha256="ab" * 32)
ADAPTIVE = replace(
    PLAN.dp_sgd,
    adaptive=AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=5.0),
)
NORMED = Recipe(
    model=LayerStack(layers=(Conv(channels=4, stride=2), GroupNorm(groups=2), GlobalAverage())),
    loss=CrossEntropy(),
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "all 3 aggregators together; any 2 together learn nothing"),
        ({}, "FedAvg"),
        ({}, "the mean, weighted by declared patients; one bad hospital can move it"),
        ({}, "none on the whole update"),
        ({}, "all 147 parameters"),
        ({}, "in every round all 147 trained numbers"),
        ({}, "32 bits a number, in steps of 2^-18; a number past 64 lets nothing leave"),
        ({}, "nothing between rounds"),
        ({}, "None of this costs a patient more"),
        (
            {"sharing": Sharing(needed=2)},
            "any 2 of the 3 aggregators together; a single one learns nothing. So the study goes "
            "on if 1 of them fail, and 2 that conspire can open this hospital's own update",
        ),
        ({"aggregators": PLAN.aggregators[:2]}, "both aggregators together; a single one learns"),
        ({"algorithm": Scaffold()}, "SCAFFOLD: every hospital"),
        ({"algorithm": Scaffold()}, "1,176 bytes in the vault: its control variate"),
        ({"algorithm": FedProx(mu=0.25)}, "FedProx (mu 0.25), 8 rounds of 3 steps"),
        ({"algorithm": FedProx(mu=0.25)}, "each step is pulled back to them with strength 0.25"),
        (
            {"algorithm": FedAdam(learning_rate=0.1)},
            "FedAdam (the researcher's learning rate 0.1, beta 0.9 and 0.99, adaptivity 0.001)",
        ),
        ({"algorithm": FedAdam(learning_rate=0.1)}, "steps by Adam's rule. What is done here is"),
        ({"algorithm": FedYogi(learning_rate=0.1)}, "steps by Yogi's rule"),
        (
            {"algorithm": FedAdagrad(learning_rate=0.1)},
            "FedAdagrad (the researcher's learning rate 0.1, beta 0.9, adaptivity 0.001)",
        ),
        ({"algorithm": FedAdagrad(learning_rate=0.1)}, "FedAdagrad: "),
        ({"algorithm": FedAdagrad(learning_rate=0.1)}, "steps by Adagrad's rule"),
        ({}, "the last round's weights"),
        ({"averaging": 0.9}, "a moving average of all rounds' weights (decay 0.9), which is also"),
        (
            {"recipe": NORMED, "local_norms": True},
            "8 of them, of normalisation, are this hospital's",
        ),
        ({"recipe": NORMED, "local_norms": True}, "but for its own normalisation,"),
        ({"recipe": NORMED, "local_norms": True}, "in every round all 147 shared numbers"),
        (
            {"recipe": NORMED, "local_norms": True},
            "64 bytes in the vault: how far its normalisation",
        ),
        ({"recipe": NORMED, "local_norms": True}, "each hospital's own stays with it"),
        (
            {"recipe": NORMED, "local_norms": True, "algorithm": Scaffold()},
            "1,240 bytes in the vault: its control variate and how far its normalisation has moved",
        ),
        ({}, "weights drawn from the plan's hash, which nobody chose"),
        ({"start_sha256": "ab" * 32}, "weights that the researcher brings, with the hash abababab"),
        ({}, "none: each drawn slice as it is"),
        (
            {"augmentation": Augmentation(views=4, flips=True, rotations=True, shift_px=2)},
            "4 views of a drawn slice, mirrored, turned by quarters, shifted by up to 2 pixels",
        ),
        ({"augmentation": Augmentation(intensity=0.1)}, "1 view of a drawn slice, in brightness"),
        ({"continual": EWC}, "pulled to an earlier model (hash abababab"),
        (
            {"continual": EWC},
            "with strength 0.5 times the importance of each weight (hash cdcdcdcd",
        ),
        ({"continual": TAUGHT}, "counts with weight 0.5 at temperature 2. It is in the gradient"),
        (
            {"dp_sgd": ADAPTIVE},
            "follows, on from round to round, the norm below which 0.5 of the patients lie",
        ),
        (
            {"dp_sgd": replace(PLAN.dp_sgd, engine="opacus")},
            "noise multiplier 1, per-sample gradients by Opacus",
        ),
        ({"max_update_norm": 1.5}, "is cut to an L2 norm of at most 1.5"),
        (
            {"frozen_layers": 1},
            "35 of 147 parameters: the first 1 of 2 layers with parameters stay as they start",
        ),
        (
            {"compression": Compression(kept=0.1)},
            "in every round 15 of the 147 trained numbers, the same places for all hospitals, "
            "drawn from the plan's hash; what does not travel is added to the next update",
        ),
        ({"compression": Compression(kept=0.1)}, "1,176 bytes in the vault: what did not travel"),
        ({"compression": Compression()}, "what rounding takes from them is added to the next"),
        ({"compression": Compression()}, "a number past 64 waits for the next round"),
        ({"compression": Compression(kept=0.5, error_feedback=False)}, "not travel is dropped"),
    ],
)
def test_a_card_says_how_it_is_added_up(changes: dict[str, Any], words: str) -> None:
    for text in both(pack(plan=replace(PLAN, **changes))):
        assert words in text


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("median", "the median of the groups' means"),
        ("trimmed_mean", "without the outermost groups"),
        ("krum", "closest to the others (Krum)"),
        ("multi_krum", "(multi-Krum)"),
        ("geometric_median", "the geometric median"),
    ],
)
def test_a_robust_rule_is_named_with_what_it_withstands_and_what_it_shows(
    rule: RobustRule, words: str
) -> None:
    crowd = Keys(hospitals=tuple(SigningKey.generate() for _ in range(15)))
    agreed = plan(crowd, robust=Robust(rule=rule, groups=5, tolerated=1))
    for text in both(pack(plan=agreed)):
        assert words in text
        assert (
            "5 groups of at least 3 hospitals, drawn anew each round, 1 of which may be bad" in text
        )
        assert "The researcher sees each group's sum" in text


# Statements and rules


def test_a_statement_says_what_is_spent_left_shared_in_force_and_counted() -> None:
    for text in both(LedgerCard(hospital="hospital-1", ledger=LEDGER)):
        for words in ("ε 1.25", "ε 6.75", "ε 8.00", "skin-lesions-of-2020", OLD.hash):
            assert words in text
        assert "5 3 steps, each with a part 0.2 of the patients, noise multiplier 1" in text
        assert "{" not in text, "no raw event"


def test_a_statement_of_a_spent_asset_says_so() -> None:
    for text in both(LedgerCard(hospital="h", ledger=replace(LEDGER, spent_epsilon=8.5))):
        assert "All is spent" in text
        assert "ε 0.00" in text
    assert ("ε 0.00", "left", "bad") in LedgerCard(
        hospital="h", ledger=replace(LEDGER, spent_epsilon=7.999)
    )._card().figures


def test_the_rules_in_force_are_shown_in_words() -> None:
    own = AssetBudget(name="gliomas", budget=Budget(epsilon=4.0, delta=1e-6))
    standing = StandingApproval(
        plan_hash=PLAN.hash, researcher=RESEARCHER, asset_version=1, rounds=20, expires_unix_s=0.0
    )
    status = vault_api.SiteStatus(
        policy=policy(assets=(own,), standing=(standing,), study_epsilon=3.0, approvers=2),
        approvers=(("ab" * 32, "owner"), ("cd" * 32, "second")),
        known=known(PLAN),
        waiting=(("RemoveParty", "12" * 32, "cd" * 32), ("AdoptPolicy", "34" * 32, "56" * 32)),
    )
    for text in both(PolicyCard(hospital="hospital-1", status=status)):
        for words in (
            "epsilon 8 at delta 1e-05",
            "epsilon 4 at delta 1e-06",
            "at most epsilon 3",
            "no limit of its own",
            "at least 0.3",
            RESEARCHER,
            "20 rounds, until 1970-01-01",
            "second cdcd",
            "Hospitals",
            "second",
            "somebody who has left",
        ):
            assert words in text
    for text in both(PolicyCard(hospital="hospital-1", status=replace(status, policy=None))):
        assert "No policy in force" in text


def test_a_card_says_how_many_of_the_hospitals_are_known_and_since_when() -> None:
    by_whom = f"Institution of hospital-2, run by hospital-2; since {format_time(1.8e9)}, by owner"
    for text in both(pack()):
        assert "3 of the 3 hospitals are known to you, all since 2027-01-15." in text
        assert "a sum over at least 3 hospitals is sure to hold 3 that you know" in text
        assert by_whom in text
        assert STRANGER not in text
    assert "3 of the 3 hospitals are known to you" in pack().brief()


def test_a_card_counts_one_operators_hospitals_once() -> None:
    chain = replace(STATE, known=known(PLAN, hospital_2="Chain", hospital_3="CHAIN"))
    for text in both(pack(state=chain)):
        assert "3 of the 3 hospitals are known to you" in text
        assert "a sum over at least 3 hospitals is sure to hold 2 that you know" in text


def test_a_card_shows_a_stranger_under_a_known_name_in_red() -> None:
    second = replace(PLAN.hospitals[1], verify_key=NEWCOMER.verify_key)
    claimed = replace(PLAN, hospitals=(PLAN.hospitals[0], second, PLAN.hospitals[2]))
    evidence = pack(plan=claimed)
    for text in both(evidence):
        assert "2 of the 3 hospitals are known to you" in text
        assert "is sure to hold 2 that you know. NOT known: hospital-2" in text
        assert STRANGER in text
    assert evidence._card().sections[-1].alarming == ("hospital-2",)


def test_the_parties_are_shown_with_their_words_and_escaped() -> None:
    odd = replace(NEWCOMER, institution=HOSTILE, operator=HOSTILE)
    newcomer = KnownParty(party=odd, added_by="second", added_at_unix_s=0.0)
    card = PartiesCard(hospital="hospital-1", verify_key="ab" * 32, known=(newcomer,))
    for text in both(card):
        for words in (
            key_fingerprint.words("ab" * 32),
            NEWCOMER.words,
            "1970-01-01 00:00 UTC, by second",
        ):
            assert words in text
    assert HOSTILE not in html(card)
    for text in both(replace(card, known=())):
        assert "Nobody is known yet, so no plan runs." in text


def test_a_card_closes_every_tag_that_it_opens() -> None:
    card = Card(
        title="<a>",
        verdicts=(("bad", "<b>"),),
        figures=(("<c>", "<d>"),),
        alarms=("<e>",),
        decisive=(("<p>", "<q>"),),
        sections=(
            Section(
                title="<f>", head=("<g>",), rows=(("<h>",),), prose="<i>", code="<j>", folded=True
            ),
            Section(title="k", rows=(("<l>", "<m>"),), diff="--- a\n+++ b\n-<n>\n+<o>"),
        ),
    )
    words = _Words.of(card.html())
    assert all(f"<{letter}>" in words for letter in "abcdefghijlmnopq")
    assert [visible_text.visible(word) for word in ("a b", "\x1b[0m")] == ["a b", "\\x1b[0m"]


# At a real vault


class Desk:
    """A front desk that shows these requests."""

    plans: ClassVar[dict[str, bytes]] = {}

    def __init__(self, *requests: CodeRequest) -> None:
        self.shown = list(requests)

    def requests(self) -> list[CodeRequest]:
        return self.shown

    def plan(self, plan_hash: str) -> bytes:
        return self.plans[plan_hash]


@pytest.fixture
def hospital(tmp_path: Path) -> OneHospital:
    return OneHospital(home=tmp_path / "hospital-1")


@pytest.fixture
def vault(
    hospital: OneHospital, templates: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    started = Vault(hospital.site)
    hospital.publish(started)
    monkeypatch.setattr(
        vault_api, "ask", lambda home, asked, body=b"", **_: started.answer(asked, body)
    )
    yield started
    started.close()


def asked(hospital: OneHospital, agreed: Plan, *, status: str = "pending") -> CodeRequest:
    """A request whose plan lies at the front desk."""
    Desk.plans[agreed.hash] = agreed.encode()
    return CodeRequest(
        id="1", researcher=RESEARCHER, code=traveller.source(agreed.hash), status=status
    )


def owner_of(hospital: OneHospital, *requests: CodeRequest) -> Owner:
    owner = Owner(hospital.home)
    owner.__dict__["_session"] = owner.__dict__["_desk"] = Desk(*requests)
    return owner


def test_a_tick_that_cuts_into_the_work_is_told() -> None:
    timed = replace(MOCK, seconds_a_round=1.0, seconds_an_evaluation=0.5)
    roomy = ReleaseSchedule(train_s=1.2, evaluate_s=0.6)
    for text in both(pack(mock=replace(timed, release_schedule=roomy))):
        assert "1.00 s of work (a rough estimate); its result leaves at ticks of 1.2 s" in text
        assert "0.50 s of work (a rough estimate); its result leaves at ticks of 0.6 s" in text
        assert "TOO SHORT" not in text
    for tight in (replace(roomy, train_s=1.1), replace(roomy, evaluate_s=0.55)):
        for text in both(pack(mock=replace(timed, release_schedule=tight))):
            assert "TOO SHORT for this machine" in text


def test_requests_are_weighed_without_a_mock_run(
    hospital: OneHospital, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mock_run, "run", None)
    agreed = hospital.plan()
    owner = owner_of(hospital, asked(hospital, agreed))
    (shown,) = owner.requests()
    assert shown.plan == agreed
    assert shown.mock is None
    assert shown.state is not None and shown.ledger is not None
    assert shown.state.state == "undecided"
    assert shown.state.after_epsilon == pytest.approx(
        accounting.epsilon(accounting.plan_events(agreed), delta=1e-5)
    )
    assert shown.approval_days == APPROVAL_DAYS
    assert shown.disagreement == ""


def test_an_approval_at_the_vault_alone_or_at_the_desk_alone_is_a_disagreement(
    hospital: OneHospital, vault: Vault
) -> None:
    agreed = hospital.plan()
    owner = owner_of(hospital, asked(hospital, agreed, status="approved"))
    assert "the plan is undecided" in owner.requests()[0].disagreement
    hospital.perform(vault, approval(agreed))
    assert owner.requests()[0].disagreement == ""
    owner = owner_of(hospital, asked(hospital, agreed))
    assert "The vault holds an approval in force" in owner.requests()[0].disagreement


def test_the_newest_other_approval_is_what_a_request_is_compared_with(
    hospital: OneHospital, vault: Vault
) -> None:
    first, second = hospital.plan(), hospital.plan(rounds=2, evaluation=None)
    hospital.perform(vault, approval(first))
    (shown,) = owner_of(hospital, asked(hospital, second)).requests()
    assert shown.last_approved == first
    assert "Against test-study" in shown.text()


def test_a_kept_plan_of_an_earlier_format_keeps_nobody_from_deciding(
    hospital: OneHospital, vault: Vault
) -> None:
    first, second = hospital.plan(), hospital.plan(rounds=2, evaluation=None)
    hospital.perform(vault, approval(first))
    text = re.sub(r'"format":\d+', '"format":1', second.encode().decode())
    with vault._db.database.writing() as connection:
        row = (canonical.sha256(text.encode()), text)
        connection.execute("INSERT INTO plan VALUES (?, ?)", row)
    (shown,) = owner_of(hospital, asked(hospital, second)).requests()
    assert shown.last_approved == first and not shown.problem


def test_notes_are_read_for_a_plan_and_for_code_that_names_none(
    hospital: OneHospital, vault: Vault
) -> None:
    agreed = hospital.plan()
    stranger = CodeRequest(id="2", researcher=RESEARCHER, code="import os", status="pending")
    requests = [
        replace(one, notes=(Note(author="owner", text=f"Question {position}?", at_unix_s=1),))
        for position, one in enumerate((asked(hospital, agreed), stranger))
    ]
    planned, strange = owner_of(hospital, *requests).requests()
    assert [one.subject for one in requests] == [agreed.hash, strange.code_sha256]
    assert [note.text for note in planned.notes] == ["Question 0?"]
    assert [note.text for note in strange.notes] == ["Question 1?"]
    assert strange.plan is None
    assert "thin traveller" in strange.problem


def test_examine_adds_a_mock_run_and_changes_nothing_else(
    hospital: OneHospital, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Plan, dict[str, Any]]] = []

    def noting(agreed: Plan, **options: Any) -> MockRun:
        calls.append((agreed, options))
        return MOCK

    monkeypatch.setattr(mock_run, "run", noting)
    agreed = hospital.plan()
    owner = owner_of(hospital, asked(hospital, agreed))
    (shown,) = owner.requests()
    assert owner.examine(shown) == replace(shown, mock=MOCK)
    assert calls == [(agreed, {"hospital": "hospital-1", "slices": MOCK_SLICES})]


def test_examine_refuses_what_has_no_plan(hospital: OneHospital) -> None:
    bad = pack(plan=None, problem="No traveller.")
    with pytest.raises(NotApproved, match="No traveller"):
        Owner(hospital.home).examine(bad)


LONGER_NUMBERS = 48
"""Bytes by which the most that a share's numbers may take is above what they take."""


def test_shares_are_as_large_as_the_evidence_says(hospital: OneHospital, vault: Vault) -> None:
    agreed = hospital.plan()
    hospital.perform(vault, approval(agreed))
    ticket = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    done = hospital.finished(vault, ticket)
    training = disclosures.of_plan(agreed, "hospital-1")[0]
    for party, part in enumerate(training.parts[2:], start=1):
        assert part.bytes - LONGER_NUMBERS <= len(vault.share(done.ticket, party)) <= part.bytes


def test_the_policy_card_shows_the_rules_in_force(hospital: OneHospital, vault: Vault) -> None:
    shown = Owner(hospital.home).policy_card().text()
    assert "The rules of hospital-1" in shown and "In force" in shown


def test_a_statement_comes_from_the_ledger(hospital: OneHospital, vault: Vault) -> None:
    agreed = hospital.plan()
    hospital.perform(vault, approval(agreed))
    vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    shown = Owner(hospital.home).ledger_card("skin-lesions")
    assert shown.ledger.in_force == (agreed.hash,)
    assert "1 3 steps, each with a part 0.2" in re.sub(r"\s+", " ", shown.text())
