"""What a process logs: one JSON object a line, and of an error never its words."""

import json
import logging
import logging.handlers
from pathlib import Path

from syft_code.operation import json_logs


def logged(folder: Path) -> tuple[logging.Logger, Path]:
    path = folder / "a.log"
    log = logging.getLogger(f"tests.{folder.name}")
    log.propagate = False
    log.addHandler(json_logs.handler(path))
    return log, path


def test_a_line_is_one_json_object_whatever_is_said(tmp_path: Path) -> None:
    log, path = logged(tmp_path)
    log.warning("two lines\nand %s", 'a "quote"')
    (line,) = path.read_text().splitlines()
    said = json.loads(line)
    assert said["said"] == 'two lines\nand a "quote"'
    assert said["level"] == "warning"
    assert said["at"].endswith("+00:00")


def test_of_an_error_its_kind_and_its_place_are_written_and_no_cell_that_it_quotes(
    tmp_path: Path,
) -> None:
    log, path = logged(tmp_path)
    try:
        float("Ada Lovelace, 36")
    except ValueError:
        log.exception("a request failed")
    text = path.read_text()
    assert "Lovelace" not in text
    said = json.loads(text)
    assert said["error"] == "ValueError"
    assert __file__ in said["where"][-1]


def test_the_lines_fill_two_files_and_no_more(tmp_path: Path) -> None:
    log, _ = logged(tmp_path)
    handler = log.handlers[0]
    assert isinstance(handler, logging.handlers.RotatingFileHandler)
    handler.maxBytes = 1000
    for _ in range(100):
        log.warning("x" * 50)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2000
    assert len(list(tmp_path.iterdir())) == 2
