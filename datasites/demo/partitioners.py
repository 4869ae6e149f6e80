"""Playing several hospitals from one data set: who goes where, and how the hospitals then differ.

    rule             hospitals differ in
    site             the true site, as the data set names it
    quantity         how many patients they have: n, n - 1, ..., 1 parts
    quantity:A       sizes fall with a power of the hospital's rank: rank ** -A
    dirichlet:A      how often each class is seen; the smaller A, the more (Hsu et al. 2019)
    tumour           the size of the tumour, from hospital to hospital larger
    intensity        the mean intensity of the images, as of scanners and cameras
    age              the patients' age

Every rule decides over patients, puts every patient in exactly one hospital and gives each
hospital at least one; the same seed makes the same split.

Does not protect: adding a patient can move others. This is for experiments with public data and
stand-ins; a real hospital has its own patients.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders.reading import Reading
from datasites.data.readers.tabular.parsed_columns import MISSING
from syft_code.errors import InvalidData, require

SORTED_BY = {
    "tumour": "tumour, share of the pixels",
    "intensity": "mean intensity",
    "age": "age, coded",
}
RULES = ("site", "quantity", "dirichlet", *SORTED_BY)
DEFAULT_HOSPITALS = 4
LEAST_SITES, MOST_SITES = 3, 40
"""So many sites can be hospitals by themselves: with fewer there is no secret sum."""
LONGEST_SITE = 40
DEFAULT_ALPHA = 0.5

Parts = list[NDArray[np.bool_]]
Values = NDArray[np.float64]


def split(reading: Reading, rule: str, *, hospitals: int = 0, seed: int = 0) -> Parts:
    """Bool `[patients]` for each hospital, by one of the rules above.

    Without a number of hospitals there are as many as true sites, and else four.

    Raises:
        InvalidData: if there is no such rule, the data does not have what it sorts by, or there
            are fewer patients than hospitals.
    """
    name, strength = require_rule(rule)
    if name == "site":
        return by_true_site(reading, hospitals)
    count = hospitals or DEFAULT_HOSPITALS
    patients = len(reading.patient_ids)
    require_enough(patients, count)
    if name == "quantity":
        return by_quantity(patients, count, power=strength, seed=seed)
    if name == "dirichlet":
        alpha = DEFAULT_ALPHA if strength is None else strength
        return by_classes(classes(reading), count, alpha=alpha, seed=seed)
    return by_value(quantity(reading, name), count, seed=seed)


def require_rule(rule: str) -> tuple[str, float | None]:
    """The name and the number of one of the rules above; raise `InvalidData` if it is none.

    >>> require_rule("dirichlet:0.3"), require_rule("site")
    (('dirichlet', 0.3), ('site', None))
    """
    name, colon, number = rule.partition(":")
    strength = _strength(name, number) if colon else None
    require(
        name in RULES and (not colon or strength is not None),
        f"A split must be one of {', '.join(RULES)}, with a number after 'quantity:' and "
        f"'dirichlet:', got {rule!r}.",
        error=InvalidData,
    )
    return name, strength


def by_site(reading: Reading, hospitals: int, *, seed: int = 0) -> list[NDArray[np.bool_]]:
    """Split one data set into hospitals: bool `[patients]` each, every patient in exactly one.

    By true site, the largest first, if there are as many sites as hospitals. Otherwise by
    quantity skew: patients in random order, hospital i of n with n + 1 - i parts of them, so
    four hospitals have about 40, 30, 20 and 10 %. Other ways to differ are in `partitioners`.

    Does not protect: adding a patient can move others. It is for playing several hospitals
    from one data set; a real hospital has its own.
    """
    patients = len(reading.patient_ids)
    require_enough(patients, hospitals)
    sites = set(reading.site)
    if len(sites) == hospitals and "" not in sites:
        return by_true_site(reading, hospitals)
    return by_quantity(patients, hospitals, seed=seed)


def for_hospitals(reading: Reading, names: Sequence[str], *, seed: int = 0) -> Parts:
    """As `by_site`; where the hospitals bear the names of the sites, each has its own."""
    parts = by_site(reading, len(names), seed=seed)
    sites = site_names(reading)
    if sorted(sites) != sorted(names):
        return parts
    return [parts[sites.index(name)] for name in names]


def site_names(reading: Reading) -> tuple[str, ...]:
    """A hospital's name for each true site, the largest first; none where they can't be hospitals.

    That is where a patient names no site, where there are fewer than `LEAST_SITES` or more than
    `MOST_SITES`, or where two sites would have one name.
    """
    if "" in reading.site or not LEAST_SITES <= len(set(reading.site)) <= MOST_SITES:
        return ()
    counts = Counter(reading.site)
    ordered = sorted(counts, key=lambda site: (-counts[site], site))
    names = tuple(hospital_name(site) for site in ordered)
    return names if len({*names} - {""}) == len(ordered) else ()


def hospital_name(site: str) -> str:
    """A site's name as a hospital's: small letters, digits and '-'.

    >>> hospital_name("vidir_molemax"), hospital_name("St. Anna, 2")
    ('vidir-molemax', 'st-anna-2')
    """
    return re.sub(r"[^a-z0-9]+", "-", site.lower()).strip("-")[:LONGEST_SITE].strip("-")


def mixed(reading: Reading, hospitals: int) -> str:
    """What is to be said where sites are known and hospitals are none of them; "" else."""
    sites = set(reading.site) - {""}
    if not sites or (len(sites) == hospitals and "" not in reading.site):
        return ""
    without = sum(site == "" for site in reading.site)
    which = f", {without:,} of the patients none" if without else ""
    return (
        f"The data name {len(sites):,} {'site' if len(sites) == 1 else 'sites'}{which}; {hospitals} "
        "hospitals share the patients out by size, so that no hospital is a site."
    )


def require_enough(patients: int, hospitals: int) -> None:
    """Raise `InvalidData` unless each hospital can have a patient."""
    require(
        1 <= hospitals <= patients,
        f"There must be 1 to {patients} hospitals for {patients} patients, got {hospitals}.",
        error=InvalidData,
    )


def by_true_site(reading: Reading, hospitals: int = 0) -> Parts:
    """Each site is a hospital, the largest first; ties by name."""
    sites = Counter(reading.site)
    require(
        "" not in sites and hospitals in (0, len(sites)),
        f"To split by site every patient must have one, and there must be as many hospitals as "
        f"sites ({len(set(sites) - {''})} here), got {hospitals or 'no number'}. Ask for that "
        "number, or for another split such as 'quantity'.",
        error=InvalidData,
    )
    names = np.array(reading.site)
    return [names == site for site in sorted(sites, key=lambda site: (-sites[site], site))]


def by_quantity(
    patients: int, hospitals: int, *, power: float | None = None, seed: int = 0
) -> Parts:
    """One patient each, and the rest in random order in parts of n, n - 1, ..., 1.

    With `power` the parts are rank ** -power instead: 0 makes them alike, 1 Zipf's law.
    """
    ranks = np.arange(1, hospitals + 1)
    parts = hospitals + 1.0 - ranks if power is None else ranks ** -float(power)
    order = np.random.default_rng(seed).permutation(patients)
    ends = np.rint(np.cumsum(parts) / parts.sum() * (patients - hospitals)).astype(int) + ranks
    return [np.isin(np.arange(patients), group) for group in np.split(order, ends[:-1])]


def by_classes(labels: NDArray[np.int64], hospitals: int, *, alpha: float, seed: int = 0) -> Parts:
    """Hospitals of one size, whose shares of the classes are drawn from Dirichlet(alpha p).

    p is how often each class is in the whole data set. Hospitals draw in turn, one patient at a
    time; once a class is used up the others count for more.

    Source: Hsu, Qi & Brown 2019, arXiv 1909.06335, section 3.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels)
    left = [list(rng.permutation(np.flatnonzero(labels == one))) for one in range(len(counts))]
    weights = _dirichlet(rng, alpha * counts / counts.sum(), hospitals)
    where = np.empty(len(labels), dtype=np.int64)
    for turn in range(len(labels)):
        hospital = turn % hospitals
        there = np.array([len(one) for one in left])
        chances = np.where(there > 0, weights[hospital], 0.0)
        if not chances.sum() > 0:  # none of the hospital's classes is left
            chances = there.astype(np.float64)
        where[left[rng.choice(len(left), p=chances / chances.sum())].pop()] = hospital
    return [where == hospital for hospital in range(hospitals)]


def by_value(values: Values, hospitals: int, *, seed: int = 0) -> Parts:
    """Hospitals of one size, from the smallest values to the largest; ties in random order.

    Patients without a value (NaN) are dealt out evenly.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(values))
    known = shuffled[np.isfinite(values[shuffled])]
    unknown = shuffled[~np.isfinite(values[shuffled])]
    ordered = known[np.argsort(values[known], kind="stable")]
    where = np.empty(len(values), dtype=np.int64)
    where[ordered] = np.arange(len(ordered)) * hospitals // max(len(ordered), 1)
    sizes = np.bincount(where[ordered], minlength=hospitals)
    for patient in unknown:
        where[patient] = int(sizes.argmin())
        sizes[where[patient]] += 1
    return [where == hospital for hospital in range(hospitals)]


def classes(reading: Reading) -> NDArray[np.int64]:
    """The class of each patient."""
    require(
        reading.spec.task == "classification",
        "To split by classes each patient must have one, and these are segmented. Split by "
        "'tumour' instead.",
        error=InvalidData,
    )
    found = np.empty(len(reading.patient_ids), dtype=np.int64)
    found[reading.cohort.patient] = reading.cohort.labels
    return found


def quantity(reading: Reading, name: str) -> Values:
    """What patients are sorted by: the mean of "tumour", "intensity" or "age" over their slices.

    Units: "tumour" the share of the pixels, "intensity" that of the images as the network sees
    them (BraTS is standardised case by case, so that only contrast is left of a scanner),
    "age" coded as in the facts; NaN where it is missing.
    """
    each = {"tumour": _tumour, "intensity": _intensity, "age": _age}[name](reading)
    known = np.isfinite(each)
    patient, patients = reading.cohort.patient, len(reading.patient_ids)
    count = np.bincount(patient[known], minlength=patients)
    total = np.bincount(patient[known], each[known], minlength=patients)
    return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def values_of(reading: Reading, rule: str, parts: Parts) -> list[Values]:
    """Each hospital's values of what a rule sorts by, for the picture; none for other rules."""
    if rule not in SORTED_BY:
        return []
    values = quantity(reading, rule)
    return [values[part] for part in parts]


def class_counts(reading: Reading, parts: Parts) -> NDArray[np.int64]:
    """Patients by hospital and class, for the picture of a split: `[hospitals, classes]`.

    Where patients have no class, all count in one column.
    """
    if reading.spec.task != "classification":
        return np.array([[part.sum()] for part in parts], dtype=np.int64)
    of = classes(reading)
    width = len(reading.spec.classes)
    return np.array([np.bincount(of[part], minlength=width) for part in parts], dtype=np.int64)


def _strength(name: str, number: str) -> float | None:
    """The number after the colon, if the rule takes this one; the smallest alpha is above 0."""
    least = {"quantity": 0.0, "dirichlet": 1e-3}.get(name, math.inf)
    try:
        value = float(number)
    except ValueError:
        return None
    return value if math.isfinite(value) and least <= value <= 1e6 else None


def _dirichlet(rng: np.random.Generator, concentration: Values, hospitals: int) -> Values:
    """Rows that sum to 1, `[hospitals, classes]`; a class of nobody has weight 0.

    Drawn in logarithms: of a tiny concentration all gamma numbers may round to 0 otherwise.
    Gamma(a) is Gamma(a + 1) times U ** (1 / a) (Marsaglia & Tsang 2000, section 6).
    """
    present = concentration > 0
    shape = np.where(present, concentration, 1.0)
    size = (hospitals, len(shape))
    logs = np.log(rng.standard_gamma(shape + 1, size)) + np.log1p(-rng.random(size)) / shape
    logs = np.where(present, logs, -np.inf)
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    rows: Values = weights / weights.sum(axis=1, keepdims=True)
    return rows


def _tumour(reading: Reading) -> Values:
    labels = reading.cohort.labels
    require(
        labels.ndim == 3,
        "To split by tumour the data must be segmented, and these have classes. Split by "
        "'dirichlet' instead.",
        error=InvalidData,
    )
    share: Values = (labels > 0).mean(axis=(1, 2))
    return share


def _intensity(reading: Reading) -> Values:
    images = reading.cohort.images
    require(
        images.size > 0,
        "To split by intensity the data must have pictures, and a table has none.",
        error=InvalidData,
    )
    mean: Values = images.mean(axis=(1, 2, 3), dtype=np.float64)
    return mean


def _age(reading: Reading) -> Values:
    names, facts = reading.spec.facts, reading.cohort.facts
    require(
        "age" in names,
        "To split by age the data must know it, and has no fact 'age'. Read it with facts.",
        error=InvalidData,
    )
    ages = facts[:, names.index("age")].astype(np.float64)
    if "age" + MISSING in names:
        ages[facts[:, names.index("age" + MISSING)] > 0] = math.nan
    return ages
