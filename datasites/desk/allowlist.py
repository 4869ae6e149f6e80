"""Which PySyft calls the front desk answers: by role, by the types inside, by their arguments.

The list is data. `deserialization_guard` holds a packed call against it before PySyft unpacks anything;
`check_arguments` looks at what the list can't say, once it is unpacked.

Guarantee: nothing else is answered: not to guests, not to the root key.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from syft_code.errors import NotApproved, Refused, require
from syft_code.plans import traveller

RESEARCHER = "DATA_SCIENTIST"
OWNER = "DATA_OWNER"
"""PySyft's names of the two roles that are answered."""

MOST_CALL_BYTES = {RESEARCHER: 2**18, OWNER: 8 * 2**20}
"""What is larger travels as a blob beside PySyft."""
STORED = {"code.request_code_execution", "code.call", "action.set"}
"""A researcher's calls that put something into PySyft's store, which gives nothing back."""

_LINK = {"LinkedObject", "type UserCode", "type UserCodeService"}
_VALUE = {"AnyActionObject", "TwinMode", "type str"}
_ASSET = {"Asset", "Contributor", "DateTime", "MarkdownDescription"}
_MOCK = {"TwinObject", "numpy_ndarray", "type dict"}
_POLICY = {"Matches", "UserOwned", "ServerIdentity", "type MixedInputPolicy"}
_SIGNATURE = {"inspect_Signature", "inspect_Parameter", "inspect_ParameterKind"}
_CODE = {"SubmitUserCode", "type OutputPolicyExecuteOnce", "type inspect_empty", "type str"}

_MEMBER_CALLS: dict[str, Set[str]] = {
    "user.get_current_user": set(),
    "metadata.get_metadata": set(),
    "dataset.get_all": set(),
    "action.get_mock": set(),
    "request.get_all": set(),
    "notifications.resolve_object": _LINK,
}
ALLOWED_CALLS: dict[str, dict[str, Set[str]]] = {
    RESEARCHER: _MEMBER_CALLS
    | {
        "code.request_code_execution": _CODE | _POLICY | _SIGNATURE,
        "code.call": _VALUE | _ASSET,
        "action.set": _VALUE,
        "action.get": set(),
        "action.has_storage_permission": set(),
    },
    OWNER: _MEMBER_CALLS
    | {
        "action.set": _VALUE | _MOCK,
        "dataset.add": _ASSET | {"CreateDataset", "CreateAsset", "numpy_ndarray"},
        "request.apply": set(),
        "request.undo": set(),
    },
}
"""Every call that is answered, by role, with the types that it may hold beside plain values."""

UNASKED = {"migration._get_object"}
"""What PySyft's client calls by itself, and goes on without: refused, and not worth a line."""

_PROTOCOL = {"communication_protocol"}  # PySyft's client adds it to every call
_ROUND_FIELDS = {"uid", "patients", "call"}


def allowed_types(path: str, *, role: str) -> Set[str]:
    """The types that a call may hold; raise `Refused` if its sender's role may not make it."""
    allowed = ALLOWED_CALLS.get(role, {})
    require(
        path in allowed,
        f"This front desk does not answer {path[:80]!r} to a {role.lower()}: use "
        "federation.researcher.study (researchers) or datasites.owner.owner (owners).",
        error=Refused,
    )
    return allowed[path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """PySyft's own objects that arguments are compared with, by identity."""

    input_policy: object
    output_policy: object


def check_arguments(call: Any, expected: Expected) -> None:
    """Let an unpacked call pass if its arguments are in order; else raise `Refused`."""
    match call.path:
        case "code.request_code_execution":
            _check_submission([*call.args, *call.kwargs.values()], expected)
        case "code.call":
            require(
                not call.args and set(call.kwargs) - _PROTOCOL == _ROUND_FIELDS,
                f"A round call must have the arguments {sorted(_ROUND_FIELDS)}, by name.",
                error=Refused,
            )


def _check_submission(arguments: list[Any], expected: Expected) -> None:
    """A code request carries the thin traveller, to be called as travellers are, and no more."""
    code = submitted_code(arguments)
    plan_hash = traveller.plan_hash_of(code.code)
    require(
        code.func_name == traveller.function_name(plan_hash)
        and code.input_kwargs == ["patients", "call"]
        and code.input_policy_type is expected.input_policy
        and code.output_policy_type is expected.output_policy
        and set(code.output_policy_init_kwargs or {}) <= {"id"}
        and code.worker_pool_name is None,
        "A code request must name and call its traveller as federation.researcher.study does.",
        error=NotApproved,
    )


def submitted_code(arguments: list[Any]) -> Any:
    """The one function that a code request's arguments hold."""
    codes = [argument for argument in arguments if hasattr(argument, "code")]
    require(
        len(codes) == 1,
        "A code request must carry one function, the plan's thin traveller.",
        error=NotApproved,
    )
    return codes[0]
