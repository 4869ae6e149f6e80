"""A hospital's policy as data, and its TOML text.

    epsilon = 8.0                  # for each asset, in all, for ever
    delta = 1e-5
    study_epsilon = 6.0            # optional: most that one study may spend
    researcher_epsilon = 8.0       # optional: most for all studies of one researcher
    epsilon_alone = 24.0           # optional, as epsilon: most in all if every other hospital colludes
    min_colluding = 1              # optional, 1: other operators that shared noise must allow to collude
    min_noise_multiplier = 0.3
    min_patients = 10
    min_hospitals = 3
    min_aggregators = 2            # how many must put their pieces together to open a sum
    recipes = ["layers", "fusion", "unet", "encoder_decoder"]
    approvers = 1                  # 2: the two-person rule
    most_ticks = 8                 # optional, 8: ticks that a plan's release schedule may have; 0: no schedule needed
    tell_researchers = false       # whether researchers read why this hospital takes no part

    [[asset]]                      # optional: a budget of its own
    name = "gliomas"
    epsilon = 4.0
    delta = 1e-6

    [[standing]]                   # optional: this very plan may run without being asked about
    plan_hash = "64 hexadecimal digits"
    researcher = "alice@example.org"
    asset_version = 1
    rounds = 20
    expires = 2027-01-31

A policy is in force when the owner has signed it; the file alone changes nothing.
"""

import datetime as dt
import json
import math
from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from syft_code import canonical, toml_text
from syft_code.errors import InvalidInput, require
from syft_code.plans.catalogue import LARGEST_DELTA, LEAST_DELTA, Terms
from syft_code.plans.roster import HEX_KEY, NAME

MAX_TOML_BYTES = 2**18
LAST_UNIX_S = 4_102_444_800.0
"""The first second of the year 2100, which every calendar can show."""


@canonical.message
class Budget:
    """What one patient may lose in all, for ever: (epsilon, delta)-DP.

    `epsilon` bounds what sums show; `epsilon_alone` what the hospital's own noise alone leaves, if all
    others collude. Without it the two bounds are one, and no plan fits whose noise is shared but a
    quiet one.
    """

    epsilon: float
    delta: float
    epsilon_alone: float | None = None

    def __post_init__(self) -> None:
        for name in ("epsilon", "epsilon_alone"):
            value = getattr(self, name)
            require(
                value is None or (math.isfinite(value) and value > 0),
                f"A budget's {name} must be a finite number above 0, got {value}.",
                error=InvalidInput,
            )
        require(
            LEAST_DELTA <= self.delta <= LARGEST_DELTA,
            f"A budget's delta must lie between {LEAST_DELTA:g} and {LARGEST_DELTA:g}, got "
            f"{self.delta}.",
            error=InvalidInput,
        )

    @property
    def alone(self) -> float:
        """The bound on the worst case."""
        return self.epsilon if self.epsilon_alone is None else self.epsilon_alone


@canonical.message
class AssetBudget:
    """A budget that is one asset's own."""

    name: str
    budget: Budget


@canonical.message
class StandingApproval:
    """One plan, by its exact hash, that may run without being asked about.

    `researcher` is the account whose cap it counts for.
    Units: `rounds` counts training rounds, the same one again not twice; `expires_unix_s` is
    the first second in which nothing runs any more.
    """

    plan_hash: str
    researcher: str
    asset_version: int
    rounds: int
    expires_unix_s: float

    def __post_init__(self) -> None:
        require(
            HEX_KEY.fullmatch(self.plan_hash) is not None,
            "A standing approval must name a plan's hash, 64 lower-case hexadecimal digits.",
            error=InvalidInput,
        )
        require(
            self.asset_version >= 1 and self.rounds >= 1,
            "A standing approval must be for at least one round, on a version from 1 on; "
            f"got {self.rounds} rounds on version {self.asset_version}.",
            error=InvalidInput,
        )
        require(
            bool(self.researcher.strip()) and self.expires_unix_s <= LAST_UNIX_S,
            "A standing approval must name the researcher's account and expire before the year 2100.",
            error=InvalidInput,
        )


@canonical.message
class SitePolicy:
    """What one hospital allows. `terms` are public; the rest is the hospital's own."""

    terms: Terms
    assets: tuple[AssetBudget, ...] = ()
    standing: tuple[StandingApproval, ...] = ()
    tell_researchers: bool = False

    def __post_init__(self) -> None:
        names = [one.name for one in self.assets]
        hashes = [one.plan_hash for one in self.standing]
        require(
            len(set(names)) == len(names) and len(set(hashes)) == len(hashes),
            "A policy must name each asset and each plan once, and names one twice: leave one of "
            "the two entries out.",
            error=InvalidInput,
        )
        require(
            all(NAME.fullmatch(name) for name in names),
            "An asset's name must be 1 to 40 lower-case letters, digits, '-' or '_'.",
            error=InvalidInput,
        )

    def budget(self, asset: str) -> Budget:
        """What a patient of an asset may lose in all."""
        for one in self.assets:
            if one.name == asset:
                return one.budget
        terms = self.terms
        return Budget(epsilon=terms.epsilon, delta=terms.delta, epsilon_alone=terms.epsilon_alone)

    def standing_for(self, plan_hash: str) -> StandingApproval | None:
        """The standing approval of a plan, expired or not; None if there is none."""
        return next((one for one in self.standing if one.plan_hash == plan_hash), None)


def read(text: str) -> SitePolicy:
    """Read a policy's TOML; raise `InvalidInput` with one sentence that names what is wrong."""
    require(
        len(text.encode("utf-8", "replace")) <= MAX_TOML_BYTES,
        f"A policy may have at most {MAX_TOML_BYTES} bytes.",
        error=InvalidInput,
    )
    try:
        found = toml_text.loads(text)
    except ValueError as problem:  # TOMLDecodeError is one; huge numbers another
        raise InvalidInput(f"A policy must be TOML, and can't be read: {problem}.") from None
    own = {
        "assets": [_asset(entry) for entry in _tables(found, "asset")],
        "standing": [_standing(entry) for entry in _tables(found, "standing")],
        "tell_researchers": found.pop("tell_researchers", False),
    }
    return _validated(
        own | {"terms": {name: _number(name, value) for name, value in found.items()}}
    )


def text(policy: SitePolicy) -> str:
    """A policy as the TOML that `read` reads.

    >>> terms = Terms(epsilon=8.0, delta=1e-5, min_noise_multiplier=0.3, min_patients=10)
    >>> read(text(SitePolicy(terms=terms))) == SitePolicy(terms=terms)
    True
    """
    own = {field.name: getattr(policy.terms, field.name) for field in fields(Terms)}
    lines = _lines(own | {"tell_researchers": policy.tell_researchers})
    for one in policy.assets:
        budget = {name: getattr(one.budget, name) for name in _BUDGET}
        lines += ["", "[[asset]]", *_lines({"name": one.name, **budget})]
    for standing in policy.standing:
        expires = dt.datetime.fromtimestamp(standing.expires_unix_s, dt.UTC)
        values = {
            field.name: getattr(standing, field.name)
            for field in fields(StandingApproval)
            if field.name != "expires_unix_s"
        }
        lines += ["", "[[standing]]", *_lines(values), f"expires = {expires.isoformat()}"]
    return "\n".join(lines) + "\n"


def _lines(values: dict[str, Any]) -> list[str]:
    """TOML writes strings, lists, numbers and truth values as JSON does."""
    return [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]


def _validated(value: dict[str, Any]) -> SitePolicy:
    try:
        policy: SitePolicy = TypeAdapter(SitePolicy).validate_json(
            canonical.encode(value), strict=True
        )
    except (ValueError, TypeError, RecursionError) as problem:  # ValidationError is a ValueError
        raise InvalidInput(_sentence(problem)) from None
    return policy


def _sentence(problem: Exception) -> str:
    if not isinstance(problem, ValidationError):
        return "A policy must hold numbers, words and lists, and nothing else."
    wrong = canonical.first_problem(problem).removeprefix("terms.")
    return f"A site's policy must be well formed; in {wrong}."


_BUDGET = tuple(field.name for field in fields(Budget))
_FLOATS = {field.name for field in fields(Terms) if "float" in str(field.type)}


def _number(name: str, value: Any) -> Any:
    """TOML knows whole numbers: `epsilon = 8` means 8.0."""
    whole = name in _FLOATS and type(value) is int and abs(value) < canonical.LARGEST_EXACT
    return float(value) if whole else value


def _tables(found: dict[str, Any], name: str) -> list[dict[str, Any]]:
    tables = found.pop(name, [])
    require(
        isinstance(tables, list) and all(isinstance(entry, dict) for entry in tables),
        f"In a policy, each {name} must be a table of its own: [[{name}]].",
        error=InvalidInput,
    )
    return list(tables)


def _asset(entry: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in entry.items() if key not in _BUDGET}
    budget = {key: _number(key, entry[key]) for key in _BUDGET if key in entry}
    return rest | {"budget": budget}


def _standing(entry: dict[str, Any]) -> dict[str, Any]:
    """`expires` is a date, whose whole day (UTC) counts, or a date with a time and its offset."""
    expires = entry.get("expires")
    rest = {key: value for key, value in entry.items() if key != "expires"}
    if isinstance(expires, dt.datetime) and expires.tzinfo is not None:
        return rest | {"expires_unix_s": expires.timestamp()}
    if isinstance(expires, dt.date) and not isinstance(expires, dt.datetime):
        end = dt.datetime.combine(expires, dt.time(tzinfo=dt.UTC)) + dt.timedelta(days=1)
        return rest | {"expires_unix_s": end.timestamp()}
    raise InvalidInput(
        "A standing approval must say when it expires: a date such as 2027-01-31, or a time with "
        "its offset such as 2027-01-31T12:00:00Z."
    )
