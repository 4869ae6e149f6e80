"""A certificate is signed: known answers, every byte of it and of its model, and who can forge what."""

import copy
import dataclasses
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from federation.certificate import certificate, signed_file, statements, verification
from federation.certificate.verification import Certificate, PublicKeys
from federation.evaluation import model_file
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidInput
from syft_code.plans.plan import Plan
from tests.vectors import certificates, second
from tests.vectors.make_vectors import FOLDER

(KNOWN,) = json.loads((FOLDER / "certificate.json").read_text())["cases"]
BAD = json.loads((FOLDER / "bad_certificate.json").read_text())["cases"]
KNOWN_KEY = SigningKey(bytes.fromhex(KNOWN["sign_seed"]))


@pytest.fixture(scope="module")
def content(skin_demo) -> Certificate:
    return certificate.certificate(skin_demo.outcome)


@pytest.fixture(scope="module")
def data(content, researcher_key) -> bytes:
    return signed_file.encode(content, researcher_key)


def sentences(data: bytes) -> list[str]:
    """What is wrong with the signatures of a file."""
    try:
        content = signed_file.decode(data)
    except InvalidInput as problem:
        return [str(problem)]
    return statements.check(content, Plan.decode(canonical.encode(content["plan"])))


# --- known answers ---


def test_the_known_certificate_is_written_and_read_byte_for_byte() -> None:
    known = KNOWN["file"].encode()
    assert signed_file.encode(certificates.content(), KNOWN_KEY) == known
    assert signed_file.decode(known) == certificates.content()
    assert sentences(known) == []


def test_the_second_implementation_reads_what_the_first_writes(data, content) -> None:
    assert second.read_certificate(data) == content


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_a_broken_certificate_is_refused_with_its_sentence(case) -> None:
    broken = certificates.edited(KNOWN["file"], case["edits"])
    found = sentences(broken)
    assert found and all(one.endswith(".") for one in found)
    assert any(case["sentence"] in one for one in found), found
    with pytest.raises((ValueError, KeyError)):
        second.read_certificate(broken)


# --- every byte ---


@settings(max_examples=300)
@given(
    place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255), way=st.sampled_from("xid")
)
@example(place=0.0, bits=1, way="d")
@example(place=1 - 2**-53, bits=1, way="x")
def test_any_changed_byte_of_a_certificate_is_found(data, place, bits, way) -> None:
    changed = one_byte(data, place, bits, way)
    assert changed != data
    with pytest.raises(InvalidInput, match="every byte before it"):
        signed_file.decode(changed)


@settings(max_examples=100)
@given(
    place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255), way=st.sampled_from("xid")
)
def test_any_changed_byte_of_a_model_is_found(
    skin_demo, content, tmp_path_factory, place, bits, way
) -> None:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    whole = model_file.encode(skin_demo.outcome.plan, skin_demo.outcome.weights)
    path.write_bytes(one_byte(whole, place, bits, way))
    (problem,) = verification.check_model(content, path)
    assert "model's file must have the hash" in problem


def one_byte(data: bytes, place: float, bits: int, way: str) -> bytes:
    """A byte changed, put in, or taken out at a place between 0 and 1."""
    at = int(place * len(data))
    middle = {"x": bytes([data[at] ^ bits]), "i": bytes([bits, data[at]]), "d": b""}[way]
    changed = data[:at] + middle + data[at + 1 :]
    return changed if changed != data else changed + b"x"


# --- whose signature ---


def test_only_the_researcher_of_the_plan_can_sign(content) -> None:
    with pytest.raises(InvalidInput, match="use the credentials"):
        signed_file.encode(content, SigningKey.generate())


def test_deep_json_is_refused_in_a_sentence() -> None:
    with pytest.raises(InvalidInput, match="every byte before it"):
        signed_file.decode(b"[" * 200_000)


def keys_of(content: Certificate) -> PublicKeys:
    plan = content["plan"]
    named = {one["name"]: one["verify_key"] for one in plan["hospitals"]}
    return PublicKeys(researcher=plan["researcher_key"], hospitals=named)


def test_a_certificate_made_up_with_other_keys_is_found_by_the_keys_alone(content) -> None:
    keys = keys_of(content)
    assert verification.check(content, keys=keys) == []
    other = dataclasses.replace(keys, hospitals=keys.hospitals | {"south": "11" * 32})
    (problem,) = verification.check(content, keys=other)
    assert "The key of south must be the one that you gave, 1111" in problem
    other = dataclasses.replace(keys, researcher="11" * 32, hospitals={})
    problems = verification.check(content, keys=other)
    assert len(problems) == 5 and "and you gave none" in problems[1]


# --- what a researcher who signs anew can't do ---


def problems_of(change, content: Certificate) -> list[str]:
    forged = copy.deepcopy(content)
    change(forged)
    return verification.check(forged)


def lower_epsilon(content: Certificate) -> None:
    content["hospitals"][0].update(epsilon=0.1, epsilon_stated_by_ledger=0.1)


def swap(content: Certificate) -> None:
    one, other = (content["hospitals"][n]["statements"] for n in (0, 1))
    one[:], other[:] = list(other), list(one)


def drop(content: Certificate) -> None:
    del content["hospitals"][2]


def leave_out(content: Certificate) -> None:
    content["hospitals"][2]["statements"] = []


def replay(content: Certificate) -> None:
    """A statement of an earlier round again."""
    own = content["hospitals"][0]["statements"]
    own[-1] = own[0]


def another_model(content: Certificate) -> None:
    content["model"]["weights_sha256"] = "00" * 32


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lower_epsilon, "north: the ledger states epsilon"),
        (swap, "south: its statement of round 1 (train) must carry the signature of its key"),
        (drop, "The hospitals must be those of the plan's roster"),
        (leave_out, "east: each of its 5 contributions must have the statement"),
        (replay, "north: its statement of round 3 (evaluate) is one of round 1 (train)"),
        (another_model, "evaluated after round 3"),
    ],
)
def test_a_researcher_cannot_sign_for_a_hospital(content, change, sentence) -> None:
    found = problems_of(change, content)
    assert any(sentence in one for one in found), found


def test_a_statement_of_another_study_is_refused(content, skin_demo, sign_anew) -> None:
    signed = skin_demo.outcome.rounds[-1].headers["evaluate"]["north"]
    other = sign_anew(signed, plan_hash=dataclasses.replace(skin_demo.outcome.plan, study="b").hash)

    def change(content: Certificate) -> None:
        content["hospitals"][0]["statements"][-1] = dataclasses.asdict(other)

    (problem,) = problems_of(change, content)
    assert "north: its statement of round 3 (evaluate) must be of this study" in problem


@pytest.mark.parametrize("name", ["epsilon", "epsilon_alone"])
def test_a_hospital_that_states_less_than_the_plan_costs_is_found(content, sign_anew, name) -> None:
    """It signed so itself: its ledger does not hold the plan's events."""
    own = content["hospitals"][0]
    low = own["epsilon_pld"] / 2
    last = canonical.parse(statements.Signed, canonical.encode(own["statements"][-1]), what="s")

    def change(content: Certificate) -> None:
        entry = content["hospitals"][0]
        entry["statements"][-1] = dataclasses.asdict(sign_anew(last, **{name: low}))
        entry[f"{name}_stated_by_ledger"] = low

    (problem,) = problems_of(change, content)
    assert f"north: the ledger states {name}" in problem and "its events come to" in problem


def test_no_file_is_a_certificate_by_accident(tmp_path) -> None:
    for text in (b"", b"{}", b"[]", b"\xff", b'{"plan": {"researcher_key": 7}}\n'):
        (tmp_path / "c.json").write_bytes(text)
        with pytest.raises(ConsiliumError, match="every byte before it"):
            certificate.read(tmp_path / "c.json")
