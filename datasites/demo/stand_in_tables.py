"""Drawn tables: heart disease, symptoms, vital signs by the hour, and facts beside pictures.

Each class has means of its own and wide scatter, so that a model learns something and not
everything; hospitals differ in how many are ill and in what they leave out. All numbers here
are round ones of textbooks; no patient stands behind them.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

Cells = tuple[str, ...]

HEART_SITES = {
    # share of the patients, share of them that is ill, share of slope, ca and thal that is missing
    "processed.cleveland.data": (0.33, 0.46, 0.01),
    "processed.hungarian.data": (0.32, 0.36, 0.80),
    "processed.switzerland.data": (0.13, 0.90, 0.60),
    "processed.va.data": (0.22, 0.75, 0.85),
}
NO_CHOLESTEROL = "processed.switzerland.data"
CLINICS = {"north": (0.4, 0.35), "harbour": (0.3, 0.5), "south": (0.2, 0.25), "airport": (0.1, 0.6)}
WARDS = {"st-anna": (0.4, 0.2), "river": (0.3, 0.3), "hill": (0.2, 0.15), "old-town": (0.1, 0.4)}
HOURS = 24
_LESION_AGES = {
    "akiec": 67, "bcc": 67, "bkl": 64, "df": 52, "mel": 61, "nv": 47, "vasc": 51,
}  # fmt: skip
_PLACES = ("back", "trunk", "face", "lower extremity", "upper extremity", "foot", "abdomen")
_SUNNY = {"akiec", "bcc", "bkl"}


def write_heart(folder: Path, patients: int, seed: int) -> None:
    """Four files without a header, laid out as UCI's processed ones."""
    rng = np.random.default_rng([seed, 0])
    shares = [share for share, _, _ in HEART_SITES.values()]
    for (name, (_, ill, gone)), count in zip(
        HEART_SITES.items(), shared_out(patients, shares), strict=True
    ):
        rows = [_heart_row(rng, ill, gone, name == NO_CHOLESTEROL) for _ in range(count)]
        write_csv(folder / name, rows)


def _heart_row(rng: Generator, ill: float, gone: float, no_cholesterol: bool) -> Cells:
    sick = int(rng.random() < ill)
    pain = rng.choice(4, p=(0.06, 0.1, 0.14, 0.7) if sick else (0.07, 0.36, 0.32, 0.25)) + 1
    late = (
        _missing(rng, gone, str(rng.choice([1, 2, 3], p=_lean(sick, (0.6, 0.33, 0.07))))),
        _missing(rng, gone, str(rng.choice(4, p=_lean(sick, (0.75, 0.15, 0.06, 0.04))))),
        _missing(rng, gone, str(rng.choice([3, 6, 7], p=_lean(sick, (0.76, 0.04, 0.2))))),
    )
    early = (
        _whole(rng, 51 + 5 * sick, 9, 28, 79),
        str(int(rng.random() < 0.6 + 0.25 * sick)),
        str(pain),
        _missing(rng, 0.05, _whole(rng, 130 + 4 * sick, 18, 80, 210)),
        "0" if no_cholesterol else _missing(rng, 0.05, _whole(rng, 235 + 12 * sick, 50, 90, 600)),
        _missing(rng, 0.08, str(int(rng.random() < 0.1 + 0.1 * sick))),
        str(rng.choice(3, p=(0.6, 0.2, 0.2))),
        _missing(rng, 0.05, _whole(rng, 152 - 22 * sick, 22, 60, 205)),
        _missing(rng, 0.05, str(int(rng.random() < 0.15 + 0.42 * sick))),
        _missing(rng, 0.05, f"{max(0.0, rng.normal(0.4 + 0.9 * sick, 0.9)):.1f}"),
    )
    return (*early, *late, str(sick * rng.integers(1, 5)))


def write_symptoms(folder: Path, patients: int, seed: int) -> None:
    """One row a patient, with a header, from four clinics."""
    rng = np.random.default_rng([seed, 1])
    header = (
        "patient", "clinic", "age", "temperature", "heart rate", "oxygen saturation", "days ill",
        "onset", "cough", "sore throat", "muscle pain", "headache", "runny nose",
        "contact with influenza", "diagnosis",
    )  # fmt: skip
    rows = [
        (f"S{number:05d}", clinic, *_symptoms(rng, ill))
        for number, (clinic, ill) in enumerate(_places(CLINICS, patients), start=1)
    ]
    write_csv(folder / "symptoms.csv", [header, *rows])


def _symptoms(rng: Generator, ill: float) -> Cells:
    flu = int(rng.random() < ill)
    fever = rng.normal(37.6 + 0.9 * flu, 0.7)
    cough = rng.choice(
        ["none", "dry", "productive"], p=(0.1, 0.65, 0.25) if flu else (0.4, 0.25, 0.35)
    )
    return (
        _missing(rng, 0.02, _whole(rng, 42, 20, 1, 98), word=""),
        _missing(rng, 0.05, f"{min(max(fever, 35.0), 41.5):.1f}", word=""),
        _missing(rng, 0.1, _whole(rng, 68 + 9 * (fever - 36.6), 10, 45, 160), word=""),
        _missing(rng, 0.2, _whole(rng, 97 - flu, 1.5, 82, 100), word=""),
        str(1 + int(rng.gamma(2.0, 0.9 if flu else 1.8))),
        _missing(rng, 0.05, "sudden" if rng.random() < 0.3 + 0.45 * flu else "gradual", word=""),
        str(cough),
        *(
            _missing(rng, 0.05, "yes" if rng.random() < share else "no", word="")
            for share in (0.5 - 0.05 * flu, 0.35 + 0.4 * flu, 0.45 + 0.3 * flu, 0.6 - 0.2 * flu, 0.08 + 0.25 * flu)
        ),
        ("other illness", "influenza")[flu],
    )  # fmt: skip


def write_vitals(folder: Path, patients: int, seed: int) -> None:
    """A row for each patient and hour; some hours and some cells were not taken."""
    rng = np.random.default_rng([seed, 2])
    header = (
        "patient", "hospital", "hour", "heart rate", "systolic pressure", "respiratory rate",
        "oxygen saturation", "temperature", "outcome",
    )  # fmt: skip
    rows: list[Cells] = [header]
    for number, (ward, ill) in enumerate(_places(WARDS, patients), start=1):
        rows += _stay(rng, f"V{number:05d}", ward, worse=rng.random() < ill)
    write_csv(folder / "vitals.csv", rows)


def _stay(rng: Generator, patient: str, ward: str, *, worse: bool) -> Iterable[Cells]:
    """Each vital sign wanders about a level; of whom gets worse it drifts from some hour on."""
    levels = rng.normal((82, 128, 17, 96.5, 37.0), (11, 15, 2.2, 1.2, 0.4))
    drift = np.array((1.6, -1.9, 0.55, -0.28, 0.04)) * rng.uniform(0.4, 1.3)
    onset = rng.integers(4, 16)
    wander = np.zeros(5)
    outcome = "deteriorated" if worse else "stable"
    for hour in range(HOURS):
        wander = 0.8 * wander + rng.normal(0, (4, 5, 1, 0.5, 0.1))
        values = levels + wander + drift * max(0, hour - onset) * worse
        values = np.clip(values, (35, 50, 5, 60, 34), (210, 230, 60, 100, 41.5))
        taken = rng.random(5) > 0.15
        if hour and rng.random() < 0.12:
            continue
        cells = [f"{value:.1f}" if here else "" for value, here in zip(values, taken, strict=True)]
        if not hour and not any(cells):
            cells[0] = f"{values[0]:.1f}"
        yield (patient, ward, str(hour), *cells, outcome)


def person(rng: Generator, dx: str) -> Cells:
    """dx_type, age, sex and localization of a lesion, as HAM10000's table has them.

    An age is missing now and then, as in the real table.
    """
    years = 5 * round(float(np.clip(rng.normal(_LESION_AGES[dx], 14), 10, 85)) / 5)
    face = 0.45 if dx in _SUNNY else 0.05
    others = [(1 - face) / (len(_PLACES) - 1)] * 2
    weights = [*others, face, *[others[0]] * (len(_PLACES) - 3)]
    return (
        "histo",
        "" if rng.random() < 0.01 else f"{years}.0",
        str(rng.choice(["female", "male", "unknown"], p=(0.45, 0.54, 0.01))),
        "unknown" if rng.random() < 0.02 else str(rng.choice(_PLACES, p=weights)),
    )


def write_survival(folder: Path, cases: Sequence[tuple[str, float]], seed: int) -> None:
    """BraTS's table of ages and survival for most cases; a larger tumour, an older patient.

    `cases` are names and the share of the head that is tumour.
    """
    rng = np.random.default_rng([seed, 3])
    rows: list[Cells] = [("Brats20ID", "Age", "Survival_days", "Extent_of_Resection")]
    for name, share in cases:
        age = float(np.clip(rng.normal(58 + 200 * (share - 0.04), 10), 19, 88))
        days = int(np.clip(rng.normal(900 - 9 * age, 150), 10, 1800))
        alive = rng.random() < 0.05
        resection = str(rng.choice(["GTR", "STR", "NA"], p=(0.5, 0.1, 0.4)))
        if rng.random() < 0.85:
            survival = f"ALIVE ({days} days later)" if alive else str(days)
            rows.append((name, f"{age:.3f}", survival, resection))
    write_csv(folder / "survival_info.csv", rows)


def _places(places: dict[str, tuple[float, float]], patients: int) -> Iterable[tuple[str, float]]:
    """Each patient's place and how many are ill there, the largest place first."""
    counts = shared_out(patients, [share for share, _ in places.values()])
    for (name, (_, ill)), count in zip(places.items(), counts, strict=True):
        yield from [(name, ill)] * count


def shared_out(patients: int, shares: Sequence[float]) -> list[int]:
    """How many patients each place has: one each as far as they go, the rest by their shares."""
    first = [1 if place < patients else 0 for place in range(len(shares))]
    ends = np.rint(np.cumsum([0, *shares]) / sum(shares) * (patients - sum(first))).astype(int)
    return [one + int(more) for one, more in zip(first, np.diff(ends), strict=True)]


def _whole(rng: Generator, mean: float, deviation: float, low: int, high: int) -> str:
    return str(int(np.clip(rng.normal(mean, deviation), low, high)))


def _missing(rng: Generator, share: float, text: str, *, word: str = "?") -> str:
    """The text, or with this probability the word for what is missing."""
    return word if rng.random() < share else text


def _lean(sick: int, healthy: tuple[float, ...]) -> tuple[float, ...]:
    """Shares of the words among the healthy; the ill lean half way to the other end."""
    if not sick:
        return healthy
    return tuple((a + 2 * b) / 3 for a, b in zip(healthy, reversed(healthy), strict=True))


def write_csv(path: Path, rows: Sequence[Cells]) -> None:
    """Write rows of cells, the columns' names first."""
    table = io.StringIO(newline="")
    csv.writer(table, lineterminator="\n").writerows(rows)
    path.write_text(table.getvalue(), encoding="utf-8")
