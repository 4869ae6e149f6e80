"""How plain PySyft 0.9.5 runs code: each attack succeeds there first, and then fails here.

The rest of `test_pysyft_holes`: policies that limit nothing, code inside the server and
the owner's kernel, and what it tells. The numbers are those of our list of PySyft's holes.
"""

import os
import re
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from datasites.protocol import vault_api
from syft_code import canonical
from syft_code.errors import BudgetExceeded, InvalidMessage, NotApproved, Refused
from syft_code.plans import traveller
from syft_code.plans.messages import Ticket
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting
from syft_code.runtime.quiet_imports import quiet_import
from tests.datasites.hospitals import BUDGET
from tests.hostile.conftest import (
    HTTP,
    PRIVATE_AGES,
    OurSite,
    PlainSite,
    plain_site_of_its_own,
    refusal,
    submission,
    travelling,
    value_object,
)
from tests.hostile.rounds import agree, ended, round_call, spent, through_pysyft
from tests.hostile.vault_behind_desk import cpu_s, processes, swapped, training_process, wiretapped

with quiet_import():
    from syft.service.policy.policy import (
        OutputPolicyExecuteCount,
        OutputPolicyExecuteOnce,
        SubmitUserPolicy,
    )
    from syft.service.response import SyftSuccess
    from syft.types.uid import UID

pytestmark = pytest.mark.timeout(300)

MANY = 6


def approved_there(
    plain: PlainSite, text: str, name: str, inputs: dict[str, Any], **changes: Any
) -> UID:
    """Alice's code request at the plain site, approved by its root; return her code's id."""
    plain.requested(submission(plain.alice, text, name, inputs, **changes))
    (asked,) = [r for r in plain.root.requests.get_all() if r.code.service_func_name == name]
    asked.approve(disable_warnings=True)
    plain.alice.refresh()
    uid: UID = asked.code.id
    return uid


def ages_of(plain: PlainSite) -> Any:
    return plain.alice.datasets.get_all()[0].assets[0]


@pytest.mark.slow
def test_s5_an_approval_for_one_run_runs_for_ever_there_and_once_here(
    plain: PlainSite, ours: OurSite
) -> None:
    text = "def {}(ages, i):\n    return float(ages[i])\n"
    for policy, limits in ((OutputPolicyExecuteOnce, {}), (OutputPolicyExecuteCount, {"limit": 1})):
        name = f"age_{policy.__name__}"
        approved_there(
            plain,
            text.format(name),
            name,
            {"ages": ages_of(plain), "i": int},
            output_policy_type=policy,
            output_policy_init_kwargs=limits,
        )
        function = getattr(plain.alice.code, name)
        read = [function(ages=ages_of(plain), i=i).get() for i in range(len(PRIVATE_AGES))]
        assert read == list(PRIVATE_AGES)

    once = agree(ours, "once-here", rounds=1)
    before = spent(ours)
    first = ours.alice.start_round(once, round_call(ours, once, 1))
    assert ended(ours, first).state == "done"
    again = ours.alice.start_round(once, round_call(ours, once, 1))
    assert again == ours.alice.bulk.ticket(first.ticket)  # the same sealed bytes, not a second run
    with pytest.raises(Refused, match="repeated only with the same"):
        ours.alice.start_round(once, round_call(ours, once, 1, seed=2))
    with pytest.raises(InvalidMessage, match="no round 2"):
        ours.alice.start_round(once, round_call(ours, once, 2))
    assert len(spent(ours)) == len(before) + 1


AT_MOST_THREE = """
class AtMostThree(sy.CustomOutputPolicy):
    runs: int = 0

    def __init__(self):
        self.runs = 0

    def apply_to_output(self, context, outputs, update_policy=True):
        if self.runs >= 3:
            raise ValueError("three runs were agreed")
        if update_policy:
            self.runs += 1
        return outputs

    def is_valid(self, context):
        return self.runs < 3
"""
MEETING = """
def meeting(ages):
    import time, uuid
    from pathlib import Path

    if float(ages.mean()) != 1.0:  # on the private half
        folder = Path({folder!r})
        (folder / uuid.uuid4().hex).touch()
        until = time.monotonic() + 30
        while len(list(folder.iterdir())) < {many} and time.monotonic() < until:
            time.sleep(0.02)
    return float(ages.mean())
"""


@pytest.mark.slow
def test_s6_six_runs_at_once_pass_a_limit_of_three_there_and_three_do_here(
    plain: PlainSite, ours: OurSite, tmp_path: Path
) -> None:
    policy = SubmitUserPolicy(code=AT_MOST_THREE, class_name="AtMostThree", input_kwargs=[])
    text, ages = MEETING.format(folder=str(tmp_path), many=MANY), ages_of(plain)
    code = approved_there(plain, text, "meeting", {"ages": ages}, output_policy_type=policy)

    def run_there(_: int) -> Any:
        return plain.desk.call(plain.alice.credentials, "code.call", uid=code, ages=ages)

    with ThreadPoolExecutor(MANY) as callers:
        answers = list(callers.map(run_there, range(MANY)))
    assert all(isinstance(answer, SyftSuccess) for answer in answers)
    assert len(list(tmp_path.iterdir())) == MANY

    study = {"rounds": MANY}
    event = accounting.event(agree(ours, "measured", **study), "train")
    three, four = (accounting.epsilon([event] * runs, delta=BUDGET.delta) for runs in (3, 4))
    limited = agree(ours, "limited", epsilon=(three + four) / 2, **study)
    calls = [round_call(ours, limited, number) for number in range(1, MANY + 1)]
    before = spent(ours)
    with ThreadPoolExecutor(MANY) as callers:
        told = list(callers.map(lambda call: through_pysyft(ours, limited, call), calls))
    refused = [answer for answer in told if answer["kind"] == "failure"]
    assert [answer["kind"] for answer in told].count("ticket") == 3
    assert {answer["error"] for answer in refused} == {BudgetExceeded.__name__}
    assert all("ask for fewer rounds or more noise" in answer["sentence"] for answer in refused)
    assert len(spent(ours)) == len(before) + 3
    for answer in told:
        if answer["kind"] == "ticket":
            text = answer["ticket"].encode()
            ended(ours, canonical.parse(Ticket, text, what="ticket"))


SPINNING = "def spinning(ages):\n    while True:\n        pass\n"
LEAVING = """
def leaving(ages):
    import os
    from pathlib import Path

    Path({mark!r}).write_text(str(os.getpid()))
    os._exit(0)
"""


@pytest.mark.slow
def test_s7_approved_code_takes_the_server_down_there_and_never_enters_it_here(
    ours: OurSite, tmp_path: Path
) -> None:
    mark = tmp_path / "pid"
    leaving = LEAVING.format(mark=str(mark))
    with plain_site_of_its_own(tmp_path / "doomed") as doomed:
        inputs, key = {"ages": ages_of(doomed)}, doomed.alice.credentials
        codes = [
            approved_there(doomed, text, name, inputs)
            for text, name in ((SPINNING, "spinning"), (leaving, "leaving"))
        ]
        spinning, leaving_now = (
            doomed.desk.sign(key, "code.call", uid=code, **inputs) for code in codes
        )
        (server,) = processes("tests.hostile.plain_site", tmp_path / "doomed")
        with pytest.raises(httpx.ReadTimeout):
            HTTP.post(f"{doomed.desk.url}/api/v2/api_call", content=spinning, timeout=1)
        used, deadline = cpu_s(server), time.monotonic() + 30
        while cpu_s(server) < used + 0.5:  # whoever asked has hung up, and nothing stops it
            assert time.monotonic() < deadline, "the code must run on"
            time.sleep(0.1)
        with pytest.raises(httpx.TransportError):
            doomed.desk.post(leaving_now)
        assert mark.read_text() == str(server)
        assert processes("tests.hostile.plain_site", tmp_path / "doomed") == []

    mark.unlink()
    desk, vault = "datasites.desk.desk_process", "datasites.vault.vault_process"
    before = [processes(each, ours.site.home) for each in (desk, vault)]
    _, text = as_traveller(ours.pending, leaving)
    code = travelling(ours, ours.pending, code=text)
    answer = ours.desk.call(ours.alice_key, "code.request_code_execution", code=code)
    assert "byte for byte" in refusal(answer)
    approved = agree(ours, "swapped-and-run")
    with swapped(ours.site, *as_traveller(approved, leaving)):
        refusal(through_pysyft(ours, approved, round_call(ours, approved, 1)))
    assert not mark.exists()
    assert [processes(each, ours.site.home) for each in (desk, vault)] == before
    assert through_pysyft(ours, approved, round_call(ours, approved, 1))["kind"] == "ticket"


def as_traveller(agreed: Plan, leaving: str) -> tuple[str, str]:
    """The name of a plan's function, and other code that has its name and names its plan."""
    name = traveller.function_name(agreed.hash)
    text = leaving.replace("def leaving(ages)", f"def {name}(patients, call)")
    return name, f'{text}    # plan_hash="{agreed.hash}"\n'


ENDED = "The training process of this hospital ended before its result was there"
TALKING = """
def talking(ages):
    print(ages)
    first = ages[0]
    raise ValueError(f"the first patient is {first} years old")
"""


@pytest.mark.slow
def test_s8_a_job_tells_private_values_by_its_log_there_and_no_round_does_here(
    plain: PlainSite, ours: OurSite
) -> None:
    ages = ages_of(plain)
    approved_there(plain, TALKING, "talking", {"ages": ages})
    job = plain.alice.code.talking(ages=ages, blocking=False)
    log = log_of(plain, job)
    assert str(PRIVATE_AGES) in log.stdout
    assert f"the first patient is {PRIVATE_AGES[0]} years old" in log.stderr

    for path in ("log.get", "log.get_stdout", "log.get_all", "job.get_all", "job.get"):
        answer = ours.desk.call(ours.alice_key, path, uid=job.log_id)
        assert "does not answer" in refusal(answer)
    failing = agree(ours, "failing")
    code = ours.request(traveller.function_name(failing.hash)).code
    call = {"uid": code.id, "patients": ours.asset, "call": value_object("x")}
    answer = ours.desk.call(ours.alice_key, "code.call", blocking=False, **call)
    assert "no queue" in refusal(answer)
    assert (
        ended(ours, ours.alice.start_round(failing, round_call(ours, failing, 1))).state == "done"
    )
    no_more_files = (3, 3)
    resource.prlimit(training_process(ours.site), resource.RLIMIT_NOFILE, no_more_files)
    told = ended(ours, ours.alice.start_round(failing, round_call(ours, failing, 2)))
    assert told.state == "failed"
    assert re.fullmatch(f"{ENDED}; [a-z ]+. Go on with the next one.", told.sentence)
    kept = (ours.site.vault / "training.log").read_text()  # for the owner alone
    assert "Traceback" in kept
    assert "IndexError" in kept, "the cohort could not be handed over"


def log_of(plain: PlainSite, job: Any) -> Any:
    """What a failed job has told, as its researcher reads it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        log = plain.desk.call(plain.alice.credentials, "log.get", uid=job.log_id).value
        if log.stderr:
            return log
        time.sleep(0.3)
    raise AssertionError("the job did not run")


UNAPPROVED = """
def unapproved(mine):
    import os
    from pathlib import Path

    Path({mark!r}).write_text(str(os.getpid()))
"""


def test_s9_mock_execution_runs_unapproved_code_in_the_server_there_and_none_here(
    plain: PlainSite, ours: OurSite, tmp_path: Path
) -> None:
    mark, key = tmp_path / "pid", plain.alice.credentials
    mine = value_object("mine")
    mine.syft_client_verify_key = key.verify_key
    plain.desk.call(key, "action.set", action_object=mine)
    text = UNAPPROVED.format(mark=str(mark))
    asked = plain.requested(submission(plain.alice, text, "unapproved", {"mine": str}))
    call = {"uid": asked.code.id, "mine": mine}
    assert "permissions for mock execution" in plain.desk.call(key, "code.call", **call).message
    (alice,) = [u for u in plain.root.users.get_all() if u.email == "alice@example.org"]
    root = plain.root.credentials
    for permission in (True, False):
        change = {"uid": alice.id, "mock_execution_permission": permission}
        assert isinstance(plain.desk.call(root, "user.update", **change), SyftSuccess)
        if permission:
            assert isinstance(plain.desk.call(key, "code.call", **call), SyftSuccess)
    assert int(mark.read_text()) in processes("tests.hostile.plain_site", plain.home)
    (request,) = [r for r in plain.alice.requests.get_all() if r.id == asked.id]
    assert request.status.name == "PENDING"

    for account in (ours.alice_key, ours.owner_account):
        change = {"uid": alice.id, "mock_execution_permission": True}
        assert "does not answer" in refusal(ours.desk.call(account, "user.update", **change))
    call = {"patients": ours.asset, "call": value_object("x")}
    code = ours.request(traveller.function_name(ours.pending.hash)).code
    answer = ours.desk.call(ours.alice_key, "code.call", uid=code.id, **call)
    assert "waiting for approval" in refusal(answer)


COUNTING = """
def counting(ages):
    import uuid
    from pathlib import Path

    Path({folder!r}, uuid.uuid4().hex).write_text(str(float(ages.mean())))
    return float(ages.mean())
"""
FAILING_ON_THE_MOCK = """
def failing(ages):
    if float(ages.mean()) == 1.0:
        raise ValueError("this is the mock")
    return float(ages.mean())
"""


@pytest.mark.slow
def test_s14_each_call_runs_twice_there_and_reaches_the_vault_once_here(
    plain: PlainSite, ours: OurSite, tmp_path: Path
) -> None:
    ages = ages_of(plain)
    approved_there(plain, COUNTING.format(folder=str(tmp_path)), "counting", {"ages": ages})
    plain.alice.code.counting(ages=ages)
    runs = [float(run.read_text()) for run in tmp_path.iterdir()]
    assert sorted(runs) == [1.0, PRIVATE_AGES.mean()]
    code = approved_there(plain, FAILING_ON_THE_MOCK, "failing", {"ages": ages})
    answer = plain.desk.call(plain.alice.credentials, "code.call", uid=code, ages=ages)
    assert "Exception encountered while running failing" in answer.message

    counted = agree(ours, "counted")
    with wiretapped(ours.site) as heard:
        assert through_pysyft(ours, counted, round_call(ours, counted, 1))["kind"] == "ticket"
    asked = [type(request) for request in heard]  # others ask for health, or what is in force
    assert asked.count(vault_api.StartRound) == 1


IN_THE_KERNEL = """
def kernel(ages):
    import os

    return os.getpid(), float(ages.mean())
"""


def test_s15_the_owners_kernel_runs_a_strangers_code_there_and_reads_it_as_text_here(
    plain: PlainSite, ours: OurSite, tmp_path: Path
) -> None:
    asked = plain.requested(
        submission(plain.alice, IN_THE_KERNEL, "kernel", {"ages": ages_of(plain)})
    )
    (request,) = [r for r in plain.root.requests.get_all() if r.id == asked.id]
    asset = plain.root.datasets.get_all()[0].assets[0]
    assert request.code.run(ages=asset) == (os.getpid(), PRIVATE_AGES.mean())

    mark = tmp_path / "pid"
    with swapped(ours.site, *as_traveller(ours.pending, LEAVING.format(mark=str(mark)))):
        (evidence,) = [e for e in ours.owner.requests() if "os._exit" in e.request.code]
        assert "byte for byte" in str(evidence.problem)
        with pytest.raises(NotApproved, match="byte for byte"):
            ours.owner.approve(evidence)
    assert not mark.exists()
    session = ours.owner._session._client
    private = session.datasets.get_all()[0].assets[0].data
    assert private is None  # the owner's session does not hold the data either
