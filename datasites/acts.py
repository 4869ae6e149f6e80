"""What a data owner does, as messages signed with the owner's key.

The vault acts on nothing else: not on PySyft's idea of an approval, nor on the word of
the front desk. Each act has an id that is used once and a time that must be recent, so
that an old act can't be played back.
"""

import secrets
import time
from dataclasses import dataclass, field

from policies.rules import Budget, KnownParties
from syft_code import canonical
from syft_code.errors import InvalidMessage, require
from syft_code.recipes import DataSpec

MAX_AGE_S = 300.0


def _new_id() -> str:
    return secrets.token_hex(16)


def _check_reason(reason: str) -> None:
    require(
        bool(reason.strip()),
        "A denial or a revocation must say in a sentence why: the researcher reads it.",
        error=InvalidMessage,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """The owner hands a cohort to the vault, under a name; `cohort_sha256` is of the body.

    `patients` is the number of training patients that the owner declares to the public.
    `split_rule` names how patients are held out (`partition.rule`); an asset keeps its rule.
    """

    __pydantic_config__ = canonical.STRICT
    asset: str
    spec: DataSpec
    patients: int
    cohort_sha256: str
    split_rule: str
    budget: Budget
    act_id: str = field(default_factory=_new_id)
    at_unix_s: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The owner names the other parties that this hospital works with, in place of any before."""

    __pydantic_config__ = canonical.STRICT
    parties: KnownParties
    act_id: str = field(default_factory=_new_id)
    at_unix_s: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The owner lets one plan run: these exact bytes, on this version of this asset, until then.

    `plan` is the plan's canonical JSON; it names the researcher's key, the roster and the
    privacy parameters. `code_sha256` is of the traveller's text.
    """

    __pydantic_config__ = canonical.STRICT
    plan: str
    code_sha256: str
    asset: str
    asset_version: int
    budget: Budget
    expires_unix_s: float
    act_id: str = field(default_factory=_new_id)
    at_unix_s: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """The owner says no to a plan, with a reason."""

    __pydantic_config__ = canonical.STRICT
    plan_hash: str
    reason: str
    act_id: str = field(default_factory=_new_id)
    at_unix_s: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        _check_reason(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """The owner takes an approval back, with a reason; rounds that have left stay spent."""

    __pydantic_config__ = canonical.STRICT
    plan_hash: str
    reason: str
    act_id: str = field(default_factory=_new_id)
    at_unix_s: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        _check_reason(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """The owner asks what the ledger says of an asset."""

    __pydantic_config__ = canonical.STRICT
    asset: str
    act_id: str = field(default_factory=_new_id)
    at_unix_s: float = field(default_factory=time.time)


Act = Publication | Trust | Approval | Denial | Revocation | Inquiry
