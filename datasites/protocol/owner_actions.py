"""What a hospital's owner and approvers do, as messages signed with their keys.

The vault acts on nothing else: not on PySyft's idea of an approval, nor on the word of
the front desk. Each action has an id that is used once and a time that must be recent, so
that an old action can't be played back.

| action                                  | takes force when signed by                       |
|-----------------------------------------|--------------------------------------------------|
| AdoptPolicy, AddParty, RemoveParty,     | as many different people as the policy asks for  |
| EnrollApprover, RemoveApprover          |                                                  |
| ApprovePlan                             | the same; the strictest of their limits counts   |
| PublishAsset, RemovePatient, DenyPlan,  | any one of them                                  |
| RevokePlan, AskResearcher               |                                                  |
| GetLedger, GetRemarks, GetPlanStatus,   | any one of them; they read and change nothing    |
| GetSiteStatus, ExportAuditLog           |                                                  |
"""

import secrets
import time
from dataclasses import dataclass, field, replace

from policies.known_parties import Party
from policies.site_policy import LAST_UNIX_S, Budget, SitePolicy
from syft_code import canonical
from syft_code.errors import InvalidMessage, require
from syft_code.plans.notes import check_text
from syft_code.plans.roster import HEX_KEY, NAME
from syft_code.recipes.recipe import DataSpec

MAX_ACTION_AGE_S = 300.0


def _new_id() -> str:
    return secrets.token_hex(16)


@canonical.message
class _OwnerAction:
    """What every action has: an id that is used once, and when it was signed."""

    action_id: str = field(default_factory=_new_id)
    at_unix_s: float = field(default_factory=time.time)

    @property
    def subject(self) -> str:
        """The hash (hex) of what is done, the same for every signer and time."""
        return canonical.sha256(canonical.encode(replace(self, action_id="", at_unix_s=0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlanRemark(_OwnerAction):
    """An action that says something about a plan, in a sentence."""

    plan_hash: str
    reason: str

    def __post_init__(self) -> None:
        require(
            HEX_KEY.fullmatch(self.plan_hash) is not None,
            "A decision must name its plan by hash, 64 lower-case hexadecimal digits.",
            error=InvalidMessage,
        )
        check_text(self.reason, what="The sentence of a decision or of a question")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptPolicy(_OwnerAction):
    """The hospital's policy from now on, budgets included."""

    policy: SitePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class AddParty(_OwnerAction):
    """The signer vouches for a hospital or an aggregator: `words` are what its people read out."""

    party: Party
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveParty(_OwnerAction):
    """A party is not known here any more: no plan with it runs."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollApprover(_OwnerAction):
    """One more person who approves here, by the key that they made for themselves."""

    name: str
    verify_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveApprover(_OwnerAction):
    """An approver leaves; what they signed counts no more."""

    verify_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishAsset(_OwnerAction):
    """The owner hands a cohort to the vault, under a name; `cohort_sha256` is of the body.

    The owner declares to the public how many training `patients` there are, whether others are
    `held_out`, and which modalities the asset `lacks`; none of it is computed from patients.
    `split_rule` names how patients are held out (`patient_hashing.rule`); an asset keeps its rule.
    `other_people` is the owner's word that so many patients, who are alike earlier ones under other
    names, are other people.
    """

    asset: str
    spec: DataSpec
    patients: int
    cohort_sha256: str
    split_rule: str
    held_out: bool = True
    lacks: tuple[str, ...] = ()
    other_people: int = 0

    def __post_init__(self) -> None:
        require(
            NAME.fullmatch(self.asset) is not None and self.patients >= 1,
            "A publication must name its asset by 1 to 40 lower-case letters, digits, '-' or '_', "
            "and declare at least one patient.",
            error=InvalidMessage,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePatient(_OwnerAction):
    """A patient leaves every cohort, and stays out of later versions: `token` is theirs."""

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovePlan(_OwnerAction):
    """Let one plan run: these exact bytes, on this version of this asset, until then.

    `plan` is the plan's canonical JSON; it names the researcher's key, the roster and the
    privacy parameters. `code_sha256` is of the traveller's text. `researcher` is the account
    that asked. Units: `rounds` counts training rounds.
    """

    plan: str
    code_sha256: str
    asset: str
    asset_version: int
    researcher: str
    budget: Budget
    rounds: int
    expires_unix_s: float

    def __post_init__(self) -> None:
        require(
            self.rounds >= 1 and self.at_unix_s < self.expires_unix_s <= LAST_UNIX_S,
            "An approval must cover at least one round and expire after it is signed, before the "
            "year 2100.",
            error=InvalidMessage,
        )
        require(
            bool(self.researcher.strip()),
            "An approval must name the researcher's account.",
            error=InvalidMessage,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DenyPlan(_PlanRemark):
    """No to a plan, with a reason that the researcher reads if `tell_researcher` is set."""

    tell_researcher: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokePlan(_PlanRemark):
    """An approval is taken back, with a reason; rounds that have left stay spent."""

    tell_researcher: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskResearcher(_PlanRemark):
    """A question to the researcher; the request stays undecided. `reason` is its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetLedger(_OwnerAction):
    """What does the ledger say of an asset?"""

    asset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRemarks(_OwnerAction):
    """What was remarked on an asset's patients when its newest version was read?"""

    asset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetPlanStatus(_OwnerAction):
    """What does the policy say to a plan (canonical JSON) of this account, and who decided what?

    With `rounds`, how far the plan would get if the asker signed an approval with these limits in
    place of their own; without, how far it gets under the approvals that stand.
    """

    plan: str
    researcher: str
    budget: Budget | None = None
    rounds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GetSiteStatus(_OwnerAction):
    """Which policy is in force, who approves, who is known, what waits for a signature?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAuditLog(_OwnerAction):
    """The audit log, for anybody to check."""


ReadRequest = GetLedger | GetRemarks | GetPlanStatus | GetSiteStatus | ExportAuditLog
RuleChange = AdoptPolicy | AddParty | RemoveParty | EnrollApprover | RemoveApprover
"""What changes who may do what: the two-person rule holds for these."""
OwnerAction = (
    RuleChange
    | PublishAsset
    | RemovePatient
    | ApprovePlan
    | DenyPlan
    | RevokePlan
    | AskResearcher
    | ReadRequest
)
ACTIONS: dict[str, type[OwnerAction]] = {
    kind.__name__: kind
    for kind in (
        AdoptPolicy, AddParty, RemoveParty, EnrollApprover, RemoveApprover, PublishAsset, RemovePatient, ApprovePlan, DenyPlan,
        RevokePlan, AskResearcher, GetLedger, GetRemarks, GetPlanStatus, GetSiteStatus, ExportAuditLog,
    )
}  # fmt: skip
