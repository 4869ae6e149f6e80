"""The lessons: short, in plain steps, each runs to its end, and what it says of its own figures holds."""

import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import pytest

TUTORIAL = Path(__file__).parents[2] / "researcher_notebooks" / "tutorial"
LESSONS = sorted(TUTORIAL.glob("*.ipynb"))
WITH_A_FEDERATION = {"6"}
ALONE = [path for path in LESSONS if path.name[0] not in WITH_A_FEDERATION]
MAX_LINES = 10


def printed(path: Path) -> str:
    """What a lesson's cells print, one after the other in this process: no kernel is started."""
    names: dict[str, Any] = {"__name__": "__main__"}
    said = io.StringIO()
    with contextlib.redirect_stdout(said), warnings.catch_warnings():
        warnings.simplefilter("error")
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                exec(compile(cell.source, path.name, "exec"), names)  # noqa: S102
    return said.getvalue()


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_is_short_and_ends_with_something_to_break(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].source.startswith(f"# {path.name[0]}. ")
    assert "**Try to break it:**" in cells[-1].source
    for cell in cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= MAX_LINES, cell.source
            assert not cell.outputs and cell.execution_count is None


def test_the_lessons_are_numbered_without_a_gap() -> None:
    assert [path.name[0] for path in LESSONS] == [str(n) for n in range(1, len(LESSONS) + 1)]


@pytest.fixture(scope="module")
def lessons() -> dict[str, str]:
    """What each lesson that needs no federation prints, by its number; run once."""
    with mpl.rc_context({"backend": "agg"}):
        return {path.name[0]: printed(path) for path in ALONE}


def numbers(text: str, pattern: str) -> list[float]:
    return [float(one.replace(",", "")) for one in re.findall(pattern, text)]


@pytest.mark.timeout(300)
def test_what_lessons_say_of_their_figures_holds(lessons: dict[str, str]) -> None:
    alone = numbers(lessons["1"], r"alone: (\.?\d*\.\d+) right")
    (pooled,) = numbers(lessons["1"], r"pooled: (\d\.\d+) right")
    assert len(alone) == 4 and pooled >= max(alone) - 0.02 and pooled > min(alone) + 0.02
    (apart,) = numbers(lessons["2"], r"largest difference: (\S+)\n")
    assert apart < 1e-12
    (seen,) = numbers(lessons["3"], r"noise ratio: (\S+) dB")
    defended = numbers(lessons["3"], r"sigma \S+: (\S+) dB")
    assert seen > 24 and defended[0] > seen / 2 + 3 and max(defended[-2:]) < 10
    right = numbers(lessons["4"], r"is right (\S+)% of")
    assert right[0] > 90 and right == sorted(right, reverse=True) and right[-1] < 56
    (off,) = numbers(lessons["5"], r"off by at most (\S+)\n")
    assert off < 1e-4
    alike, apart, scaffold = numbers(lessons["7"], r"30 x 10: \S+ right, (\S+) from")
    assert apart > 2 * alike and scaffold < apart / 2, (
        "hospitals that differ drift, SCAFFOLD mends it"
    )
    attack = numbers(lessons["8"], r"AUC is (\S+) \(")
    assert attack[0] > 0.75 and attack[-1] < 0.6
