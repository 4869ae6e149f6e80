"""Notes on a code request, written by two processes at once and by wicked members."""

import fcntl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datasites.desk.storage.notes import MAX_NOTES, Notes
from syft_code.errors import InvalidMessage, Refused
from syft_code.plans.notes import MAX_TEXT

PLAN, OTHER = "ab" * 32, "cd" * 32


def test_notes_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "notes")
    assert notes.read(PLAN) == ()
    asked = notes.add(PLAN, author="owner", text="Why 30 rounds?")
    answered = notes.add(PLAN, author="researcher", text="Für Hirntumore: 20 reichen nicht.")
    assert notes.read(PLAN) == (asked, answered)
    assert notes.read(OTHER) == ()
    assert (tmp_path / "notes" / f"{PLAN}.jsonl").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "notes").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x" * (MAX_TEXT + 1),
        "a\x00b",
        "a\nb",
        "a\x1b[2Jb",
        "a\u202eb",
        "a\u200bb",
        "\ud800",
    ],
)
def test_a_note_that_is_empty_long_or_steers_a_terminal_is_refused(
    tmp_path: Path, text: str
) -> None:
    notes = Notes(tmp_path)
    with pytest.raises(InvalidMessage, match="A note must"):
        notes.add(PLAN, author="researcher", text=text)
    assert notes.read(PLAN) == ()


def test_a_note_may_have_the_most_characters(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    notes.add(PLAN, author="owner", text="ü" * MAX_TEXT)
    assert notes.read(PLAN)[0].text == "ü" * MAX_TEXT


def test_a_researcher_can_not_use_up_the_owners_notes(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    for number in range(MAX_NOTES // 2):
        notes.add(PLAN, author="researcher", text=str(number))
    with pytest.raises(Refused, match="Each side"):
        notes.add(PLAN, author="researcher", text="one more")
    for number in range(MAX_NOTES // 2):
        notes.add(PLAN, author="owner", text=str(number))
    with pytest.raises(Refused, match="Each side"):
        notes.add(PLAN, author="owner", text="one more")
    assert len(notes.read(PLAN)) == MAX_NOTES
    notes.add(OTHER, author="researcher", text="another plan")


@pytest.mark.parametrize("name", ["", "..", "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_a_plan_is_named_by_its_hash_alone(tmp_path: Path, name: str) -> None:
    notes = Notes(tmp_path)
    with pytest.raises(InvalidMessage, match="named by its SHA-256"):
        notes.read(name)
    with pytest.raises(InvalidMessage, match="named by its SHA-256"):
        notes.add(name, author="owner", text="hello")
    assert not list(tmp_path.iterdir())


def test_two_processes_write_whole_lines_and_no_more_than_there_may_be(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from datasites.desk.storage.notes import Notes\n"
        "from syft_code.errors import Refused\n"
        "notes, told = Notes(Path(sys.argv[1])), 0\n"
        "for number in range(40):\n"
        "    try:\n"
        f"        notes.add({PLAN!r}, author=sys.argv[2], text=f'{{number}} ' + 'x' * 1900)\n"
        "    except Refused:\n"
        "        told += 1\n"
        "print(told)"
    )
    root = Path(__file__).parents[4]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), author], cwd=root, stdout=subprocess.PIPE
        )
        for author in ("owner", "researcher", "researcher")
    ]
    told = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(told) == 120 - MAX_NOTES
    found = Notes(tmp_path).read(PLAN)
    assert len(found) == MAX_NOTES
    assert sum(note.author == "owner" for note in found) == MAX_NOTES // 2


def test_a_note_waits_until_the_other_process_has_written_its_own(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    first = notes.add(PLAN, author="owner", text="one")
    with ThreadPoolExecutor(1) as pool, (tmp_path / f"{PLAN}.jsonl").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        writing = pool.submit(notes.add, PLAN, author="researcher", text="two")
        with pytest.raises(TimeoutError):
            writing.result(timeout=0.3)
        assert notes.read(PLAN) == (first,)
        fcntl.flock(other, fcntl.LOCK_UN)
        writing.result(timeout=30)
    assert [note.text for note in notes.read(PLAN)] == ["one", "two"]


def test_a_line_that_a_crash_cut_spoils_no_other(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    notes.add(PLAN, author="owner", text="one")
    with (tmp_path / f"{PLAN}.jsonl").open("ab") as file:
        file.write(b'{"at_unix_s":17')
    notes.add(PLAN, author="owner", text="two")
    assert [note.text for note in notes.read(PLAN)] == ["one", "two"]
