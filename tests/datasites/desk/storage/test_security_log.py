"""The log of refusals: what stands in it, what doesn't, and how large it gets."""

from pathlib import Path

from datasites.desk.storage.security_log import MAX_SENTENCE, MAX_WHO, SecurityLog, read_events


def test_refusals_are_read_back_with_the_newest_last(tmp_path: Path) -> None:
    log = SecurityLog(tmp_path)
    assert read_events(tmp_path) == []
    for number in range(3):
        log.write("call", who="ab" * 32, path=f"user.{number}", sentence="No.")
    assert [refusal.path for refusal in read_events(tmp_path)] == ["user.0", "user.1", "user.2"]
    assert (tmp_path / "refusals.jsonl").stat().st_mode & 0o777 == 0o600


def test_what_a_stranger_sends_is_cut_and_stays_on_one_line(tmp_path: Path) -> None:
    SecurityLog(tmp_path).write(
        "login", who="x\n" * 10_000, path="\ud800/\r\n" * 10_000, sentence="y" * 10_000
    )
    (found,) = read_events(tmp_path)
    assert len(found.who) == MAX_WHO
    assert len(found.sentence) == MAX_SENTENCE
    assert (tmp_path / "refusals.jsonl").read_bytes().strip().count(b"\n") == 0


def test_a_flood_fills_no_disk_and_the_newest_lines_stay(tmp_path: Path) -> None:
    log = SecurityLog(tmp_path, max_file_bytes=4096)
    for number in range(500):
        log.write("request", who="", path=f"/{number}", sentence="No.")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * 4096
    paths = [refusal.path for refusal in read_events(tmp_path)]
    assert paths[-1] == "/499"
    assert paths == [f"/{number}" for number in range(500 - len(paths), 500)]
    assert len(paths) > 20


def test_a_line_that_a_crash_cut_hides_no_other(tmp_path: Path) -> None:
    log = SecurityLog(tmp_path)
    log.write("call", who="", path="one", sentence="No.")
    with (tmp_path / "refusals.jsonl").open("ab") as file:
        file.write(b'{"at_unix_s":1.0,"ki')
    log = SecurityLog(tmp_path)  # the next process
    log.write("call", who="", path="two", sentence="No.")
    log.write("call", who="", path="three", sentence="No.")
    assert [refusal.path for refusal in read_events(tmp_path)] == ["one", "two", "three"]
