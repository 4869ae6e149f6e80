"""Every error that Consilium raises on purpose, as one tree.

ConsiliumError
├── InvalidInput            what came in is not acceptable as it stands
│   ├── InvalidPlan         a plan, a recipe or a privacy parameter
│   ├── InvalidData         a hospital's files; names the file, stays with the owner
│   └── InvalidMessage      a message that is malformed, forged or out of place
├── Refused                 a party understood the question and says no
│   ├── NotApproved         no valid approval covers these exact bytes
│   └── BudgetExceeded      the ledger has not enough left
├── SharingError            a secret-sharing step that must not go on
│   └── RangeExceeded       a value does not fit the ring's proven bound
├── TrainingFailed          the round ran and failed; its budget stays spent
└── Unavailable             a party can't be reached or did not start

The text of each error is one sentence or two: what must hold, what we got, what
to do next. It never holds a patient's value, a share, or a path in a hospital;
`InvalidData` is the one exception: it is for the owner and names the file.
"""


class ConsiliumError(Exception):
    """Base of all errors that Consilium raises on purpose."""


class InvalidInput(ConsiliumError):
    """What came in is not acceptable as it stands."""


class InvalidPlan(InvalidInput):
    """A plan, a recipe or a privacy parameter is not acceptable."""


class InvalidData(InvalidInput):
    """A hospital's files are not acceptable; the text names the file and is for the owner."""


class InvalidMessage(InvalidInput):
    """A message is malformed, forged or out of place."""


class Refused(ConsiliumError):
    """A party understood the question and says no."""


class NotApproved(Refused):
    """No valid approval covers these exact bytes."""


class BudgetExceeded(Refused):
    """The ledger has not enough left."""


class SharingError(ConsiliumError):
    """A secret-sharing step that must not go on."""


class RangeExceeded(SharingError):
    """A value does not fit the ring's proven bound."""


class TrainingFailed(ConsiliumError):
    """A round ran and failed; its budget stays spent."""


class Unavailable(ConsiliumError):
    """A party can't be reached or did not start."""


def named(name: object) -> type[ConsiliumError] | None:
    """The class of the tree that another party's answer names, None if it names none.

    >>> named("Refused"), named("require")
    (<class 'syft_code.errors.Refused'>, None)
    """
    found = globals().get(name) if isinstance(name, str) else None
    return found if isinstance(found, type) and issubclass(found, ConsiliumError) else None


def require(holds: bool, sentence: str, *, error: type[ConsiliumError] = InvalidPlan) -> None:
    """Raise `error` with the sentence unless the condition holds.

    State what must hold, not what must not: a comparison with NaN is false, and so refused.
    """
    if not holds:
        raise error(sentence)
