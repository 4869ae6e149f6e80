"""`predict`: a trained model on files that it has never seen. `model export`: it as ONNX."""

import time
from pathlib import Path
from typing import Annotated

import typer

from federation.prediction import onnx_export, predictions, trained_model
from federation.prediction.trained_model import TrainedModel
from syft_code.errors import InvalidInput, require
from syft_code.runtime.cli_input import require_output_file
from syft_code.runtime.cli_output import AsJson, Command, document, quoted, sentence

FOLDER = Path("predictions")
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="The model's .safetensors file.")]
Certificate = Annotated[
    Path | None, typer.Option(help="If it is not certificate.json beside the model.")
]
Keys = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The parties' keys, as for certificate verify.")
]
Unchecked = Annotated[
    bool, typer.Option("--unchecked", help="Use a model that has no certificate.")
]


def model_app() -> typer.Typer:
    """`model`, as a group of one."""
    found = typer.Typer(no_args_is_help=True, help="A trained model in another form: ONNX.")

    @found.callback()
    def _group() -> None: ...

    found.command(cls=Command)(export)
    return found


def export(
    model: Model,
    out: Annotated[Path, typer.Option(help="A new file, .onnx.")],
    certificate: Certificate = None,
    keys: Keys = None,
    unchecked: Unchecked = False,
) -> None:
    """Write a model as ONNX, if its layers have a form there; its certificate is checked first."""
    require_output_file(out, "--out")
    require(
        not out.exists(),
        f"--out must be a new file, got {quoted(str(out))}: name another.",
        error=InvalidInput,
    )
    found = trained_model.load(model, certificate=certificate, keys=keys, unchecked=unchecked)
    onnx_export.write(out, found.saved)
    sentence(found.standing)
    sentence(
        f"Written to {quoted(str(out))}. The certificate speaks of the original, not of this file."
    )


def predict(
    model: Model,
    path: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_FOLDER",
            help="A picture, a CSV, a case in NIfTI, or a folder of pictures or cases.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="A new folder; without it, predictions/<time>.")
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(help="schema.toml of the study's tables, unless it comes with Consilium."),
    ] = None,
    certificate: Certificate = None,
    keys: Keys = None,
    unchecked: Unchecked = False,
    as_json: AsJson = False,
) -> None:
    """Ask a trained model about pictures, a CSV or cases that it has never seen.

    It writes probabilities as CSV, masks as NIfTI with a picture of each. Files are read as in training. The certificate is checked first: one that does not hold is refused.

    JSON: standing, folder, files, predicted, remarks.
    """
    folder = out or FOLDER / time.strftime("%Y-%m-%d_%H-%M-%S")
    predictions.require_new(folder)
    found = trained_model.load(model, certificate=certificate, keys=keys, unchecked=unchecked)
    if found.saved.data.task == "classification":
        said = found.probabilities(path, schema=schema)
        predictions.write_probabilities(folder, said)
        count, remarks = len(said.names), list(said.remarks)
    else:
        require(schema is None, "--schema must go with a table's model.", error=InvalidInput)
        remarks = predictions.write_masks(folder, found, found.masks(path))
        count = len(list(folder.glob("*_mask.nii.gz")))
    files = sorted(one.name for one in folder.iterdir())
    if as_json:
        document(
            {
                "standing": found.standing,
                "folder": str(folder),
                "files": files,
                "predicted": count,
                "remarks": remarks,
            }
        )
        return
    _tell(found, folder, count, remarks)


def _tell(model: TrainedModel, folder: Path, count: int, remarks: list[str]) -> None:
    masks = model.saved.data.task == "segmentation"
    sentence(model.standing)
    for remark in remarks:
        sentence(remark)
    what = "case" if masks else "prediction"
    sentence(f"{count:,} {what}{'' if count == 1 else 's'} written to {quoted(str(folder))}.")
    if masks:
        named = ", ".join(f"{n} {name}" for n, name in enumerate(model.saved.data.classes))
        sentence(f"Numbers in a mask: {named}.")
    sentence("What a model says is no diagnosis; model_card.md beside it says what it was made of.")
