"""Whether a DICOM file is one gray slice as it was measured, by its header."""

from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from datasites.data.folders import safe_files
from syft_code.errors import InvalidData, require

_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)


def require_no_deflate(syntax: str, name: str) -> None:
    """Refuse a file that would be unpacked, to any size, before its header can be read."""
    require("deflate" not in _said(syntax).lower(), _compressed(name, syntax), error=InvalidData)


def require_plain(header: Any, syntax: str, name: str) -> None:
    """Refuse a file that is no gray picture of one slice, uncompressed and without writing in it.

    Raises:
        InvalidData: naming the file and what it is instead.
    """
    modality = header.get("Modality")
    require(syntax in _PLAIN, _compressed(name, syntax), error=InvalidData)
    require(
        modality != "SEG",
        f"{name!r} is a DICOM segmentation, and a mask must be NIfTI on the grid of its series. Convert it, for "
        "instance with segimage2itkimage of dcmqi.",
        error=InvalidData,
    )
    require(
        header.get("PixelData") is not None,
        f"{name!r} must be a slice with pixels, and is DICOM without any"
        f"{f' ({safe_files.printable(str(modality), most=16)})' if modality else ''}. Move it out of the folder.",
        error=InvalidData,
    )
    require(
        str(header.get("BurnedInAnnotation") or "").upper() != "YES",
        f"{name!r} must show no writing, and its header says that there is some in the picture (BurnedInAnnotation), "
        "which may name the patient. Leave the series out (ignore in 'volumes.toml'), or remove the writing.",
        error=InvalidData,
    )
    require(
        int(header.get("NumberOfFrames") or 1) == 1,
        f"{name!r} must be one slice, and has several frames (enhanced DICOM). Convert it to NIfTI with dcm2niix.",
        error=InvalidData,
    )
    require(
        header.get("SamplesPerPixel") == 1
        and header.get("PhotometricInterpretation") == "MONOCHROME2"
        and header.get("BitsAllocated") in (8, 16)
        and header.get("PixelRepresentation") in (0, 1),
        f"{name!r} must be a gray picture of 8 or 16 bits (MONOCHROME2), and is "
        f"{safe_files.printable(str(header.get('PhotometricInterpretation')), most=24)} with "
        f"{safe_files.printable(str(header.get('SamplesPerPixel')), most=8)} x "
        f"{safe_files.printable(str(header.get('BitsAllocated')), most=8)} bits. Leave it out (ignore in 'volumes.toml').",
        error=InvalidData,
    )


def _compressed(name: str, syntax: str) -> str:
    return (
        f"{name!r} must be uncompressed DICOM (little endian), and is stored as '{safe_files.printable(_said(syntax))}'. "
        "Decompress it, for instance with gdcmconv --raw or dcmconv, or leave it out."
    )


def _said(syntax: str) -> str:
    return UID(syntax).name if syntax else "unknown"
