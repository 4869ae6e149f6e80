"""A policy is read whole from its text, or refused in one sentence."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import site_policy
from policies.site_policy import AssetBudget, Budget, SitePolicy, StandingApproval
from syft_code.errors import InvalidInput
from syft_code.plans.catalogue import Terms

LEAST = "epsilon = 8\ndelta = 1e-5\nmin_noise_multiplier = 0.3\nmin_patients = 10\n"
STANDING = f"""
[[standing]]
plan_hash = "{"ab" * 32}"
researcher = "alice@example.org"
asset_version = 1
rounds = 20
expires = 2027-01-31
"""


def test_the_shortest_policy_has_strict_defaults() -> None:
    policy = site_policy.read(LEAST)
    assert policy.terms == Terms(
        epsilon=8.0, delta=1e-5, min_noise_multiplier=0.3, min_patients=10, min_hospitals=3
    )
    assert not policy.tell_researchers
    assert policy.terms.most_ticks == 8, "a result leaves at a tick unless an owner says otherwise"
    assert site_policy.read(LEAST + "most_ticks = 0\n").terms.most_ticks == 0


def test_the_text_in_the_docstring_is_a_policy() -> None:
    text = str(site_policy.__doc__).split("\n\n", 1)[1].rsplit("\n\n", 1)[0]
    policy = site_policy.read(text.replace("64 hexadecimal digits", "ab" * 32))
    assert policy.assets[0].budget == Budget(epsilon=4.0, delta=1e-6)
    assert policy.standing[0].rounds == 20


def test_the_worst_case_is_the_budget_unless_an_owner_says_more() -> None:
    """So no plan fits whose noise is shared, until somebody has thought about it."""
    assert site_policy.read(LEAST).budget("any").alone == 8.0
    asset = '[[asset]]\nname = "own"\nepsilon = 2\ndelta = 1e-5\n'
    policy = site_policy.read(LEAST + "epsilon_alone = 20\n" + asset)
    assert (policy.budget("any").alone, policy.budget("own").alone) == (20.0, 2.0)


def test_the_whole_day_of_an_expiry_counts() -> None:
    (standing,) = site_policy.read(LEAST + STANDING).standing
    first = dt.datetime(2027, 2, 1, tzinfo=dt.UTC).timestamp()
    assert standing.expires_unix_s == first


WRONG = {
    "no TOML": ("epsilon = = 1", "must be TOML"),
    "a key of many parts": ("a." * 5000 + "a = 1", "at most 200 dots"),
    "deep nesting": ("a = " + "[" * 5000, "nests too deep"),
    "a number of many digits": ("epsilon = " + "9" * 5000, "must be TOML"),
    "a number past all floats": (LEAST.replace("8", "9" * 400), "numbers, words and lists"),
    "nothing": ("", "epsilon"),
    "an unknown word": (LEAST + "min_patient = 3\n", "min_patient"),
    "a word for a number": (LEAST.replace("8", '"8"'), "epsilon"),
    "truth for a number": (LEAST.replace("8", "true"), "epsilon"),
    "a negative budget": (LEAST.replace("8", "-8"), "above 0, got -8.0"),
    "not a number": (LEAST.replace("8", "nan"), "numbers, words and lists"),
    "no end": (LEAST.replace("8", "inf"), "numbers, words and lists"),
    "a delta of one": (LEAST.replace("1e-5", "1.0"), "delta must lie between 1e-15 and 0.01"),
    "one aggregator": (LEAST + "min_aggregators = 1\n", "min_aggregators must be from 2 to 5"),
    "two hospitals": (LEAST + "min_hospitals = 2\n", "min_hospitals must be at least 3"),
    "three approvers": (LEAST + "approvers = 3\n", "two-person rule"),
    "ticks below none": (
        LEAST + "most_ticks = -1\n",
        "from 1 to 64, or 0 to ask for no release schedule",
    ),
    "nobody colludes": (LEAST + "min_colluding = 0\n", "min_colluding must be at least 1, got 0"),
    "a worst case of nothing": (LEAST + "epsilon_alone = 0\n", "epsilon_alone must be a finite"),
    "an asset's worst case": (
        LEAST + '[[asset]]\nname = "a"\nepsilon = 1\ndelta = 1e-5\nepsilon_alone = -1\n',
        "epsilon_alone must be a finite number above 0",
    ),
    "no approver": (LEAST + "approvers = 0\n", "two-person rule"),
    "an unknown model": (LEAST + 'recipes = ["llm"]\n', "recipes"),
    "no model": (LEAST + "recipes = []\n", "at least one kind"),
    "an asset twice": (
        LEAST + '[[asset]]\nname = "a"\nepsilon = 1\ndelta = 1e-5\n' * 2,
        "once",
    ),
    "an asset's name": (LEAST + '[[asset]]\nname = "A/b"\nepsilon = 1\ndelta = 1e-5\n', "name"),
    "an asset that is no table": (LEAST + "asset = 3\n", "[[asset]]"),
    "a standing approval without end": (
        LEAST + STANDING.replace("expires = 2027-01-31", ""),
        "when it expires",
    ),
    "a local time": (
        LEAST + STANDING.replace("2027-01-31", "2027-01-31T12:00:00"),
        "when it expires",
    ),
    "half a hash": (LEAST + STANDING.replace("ab" * 32, "ab"), "64 lower-case"),
    "no round": (LEAST + STANDING.replace("rounds = 20", "rounds = 0"), "at least one round"),
    "too long": (LEAST + "#" * 300_000, "at most"),
    "deep": ("a = " + "[" * 50_000, "TOML"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_policy_is_refused_in_one_sentence(what: str) -> None:
    text, words = WRONG[what]
    with pytest.raises(InvalidInput) as refusal:
        site_policy.read(text)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_a_sentence(text: str) -> None:
    for whole in (text, LEAST + text):
        try:
            site_policy.read(whole)
        except InvalidInput:
            continue


POSITIVE = st.floats(1e-3, 1e3)
DELTAS = st.floats(1e-9, 0.01)


@given(
    st.builds(
        SitePolicy,
        terms=st.builds(
            Terms,
            epsilon=POSITIVE,
            delta=DELTAS,
            min_noise_multiplier=POSITIVE,
            min_patients=st.integers(1, 10**6),
            min_hospitals=st.integers(3, 50),
            min_aggregators=st.integers(2, 5),
            study_epsilon=st.none() | POSITIVE,
            researcher_epsilon=st.none() | POSITIVE,
            recipes=st.sampled_from([("layers",), ("unet",), ("layers", "unet")]),
            approvers=st.sampled_from([1, 2]),
            epsilon_alone=st.none() | POSITIVE,
            min_colluding=st.integers(1, 9),
        ),
        assets=st.lists(
            st.builds(
                AssetBudget,
                name=st.from_regex("[a-z][a-z0-9_-]{0,10}", fullmatch=True),
                budget=st.builds(
                    Budget, epsilon=POSITIVE, delta=DELTAS, epsilon_alone=st.none() | POSITIVE
                ),
            ),
            max_size=3,
            unique_by=lambda one: one.name,
        ).map(tuple),
        standing=st.lists(
            st.builds(
                StandingApproval,
                plan_hash=st.from_regex("[0-9a-f]{64}", fullmatch=True),
                researcher=st.emails(),
                asset_version=st.integers(1, 9),
                rounds=st.integers(1, 99),
                expires_unix_s=st.integers(10**9, 4 * 10**9).map(float),
            ),
            max_size=3,
            unique_by=lambda one: one.plan_hash,
        ).map(tuple),
        tell_researchers=st.booleans(),
    )
)
def test_what_is_written_is_read_again(policy: SitePolicy) -> None:
    assert site_policy.read(site_policy.text(policy)) == policy
