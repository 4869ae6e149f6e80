"""`consilium encoder`: what is here, and a state dict becomes a file that plans can name."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from federation.cli import encoder_commands
from syft_code import canonical
from syft_code.models import encoder_weights
from syft_code.runtime.encoder_files import MOST_FILES, EncoderFiles
from tests import encoders


def said(*words: str, code: int = 0) -> str:
    """What a command prints, in one line."""
    done = CliRunner().invoke(encoder_commands.app(), list(words))
    assert done.exit_code == code, done.output
    return " ".join(done.output.split())


def test_a_converted_file_is_found_by_the_hash_that_was_printed(tmp_path: Path) -> None:
    published = tmp_path / "published.pth"
    published.write_bytes(encoders.file())
    out = tmp_path / "encoders"
    printed = said("convert", str(published), "--name", encoders.NAME, "--out", str(out)).split()
    (path,) = out.iterdir()
    assert printed[-1] == canonical.sha256(path.read_bytes())
    data = EncoderFiles(out).read(printed[-1], called="it")
    assert encoder_weights.read(data, encoders.NAME).keys()
    assert printed[-1][:8] in said("list", "--folder", str(out))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("convert", "{file}", "--name", "vgg", "--out", "{out}"), "--name must be one of effic"),
        (("convert", "{file}", "--name", "resnet18", "--out", "{out}"), "another network"),
        (("convert", "{out}/none", "--name", "resnet18", "--out", "{out}"), "There is no state"),
        (("list", "--folder", "{out}/none"), "--folder must be a folder"),
    ],
)
def test_what_can_not_be_is_one_sentence_and_writes_nothing(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    file, out = tmp_path / "file", tmp_path / "out"
    file.write_bytes(encoders.pickled({"conv1.weight": torch.zeros(3)}))
    out.mkdir()
    assert sentence in said(*(word.format(file=file, out=out) for word in words), code=2)
    assert not list(out.iterdir())


def test_a_folder_of_too_many_files_is_one_sentence(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 1):
        (tmp_path / str(number)).touch()
    assert "may hold 100 files, and holds 101" in said("list", "--folder", str(tmp_path), code=2)
