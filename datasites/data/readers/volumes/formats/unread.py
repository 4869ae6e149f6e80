"""Why a file beside the cases can't be read, and what its owner does about it.

A file is known by its first bytes or its ending; what it says is one part of a refusal's sentence.
"""

from pathlib import Path

from datasites.data.folders import safe_files
from datasites.data.readers.volumes.formats import dicom, nifti

BYSTANDERS = (
    "survival_*.csv",
    "name_mapping*.csv",
    "*mapping*.csv",
    "*mapping*.xlsx",
    "dicomdir",
    "*[_-]brain_mask.nii",
    "*[_-]brain_mask.nii.gz",
    "*[_-]brainmask.nii",
    "*[_-]brainmask.nii.gz",
)
"""Beside what every reader leaves alone: tables of survival and of names, masks of the brain."""
BYSTANDING_FOLDERS = ("__macosx",)
MORE_MODALITIES = "give its ending a meaning under [files] in 'volumes.toml', or ignore it there"
_CONVERT = "convert it to NIfTI with"
_BY_ENDING = {
    (".mha", ".mhd", ".raw", ".zraw"): f"is MetaImage: {_CONVERT} ITK-SNAP or SimpleITK",
    (".hdr", ".img", ".hdr.gz", ".img.gz"): "is Analyze or a pair of NIfTI files: join header and voxels in one .nii.gz "
    "with fslchfiletype or nibabel",
    (".nrrd", ".nhdr"): f"is NRRD: {_CONVERT} 3D Slicer or SimpleITK",
    (".mgz", ".mgh"): f"is of FreeSurfer: {_CONVERT} mri_convert",
    (".mnc", ".mnc.gz"): f"is MINC: {_CONVERT} mnc2nii",
    (".head", ".brik", ".brik.gz"): f"is of AFNI: {_CONVERT} 3dAFNItoNIFTI",
    (".par", ".rec"): f"is Philips PAR/REC: {_CONVERT} dcm2niix",
    (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"): "is an archive or compressed in another "
    "way than gzip: unpack it",
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"): "is a picture, not a volume",
}  # fmt: skip


def reason(root: Path, path: Path) -> str | None:
    """A part of a sentence that follows the file's name, or None if nothing is known of it."""
    inner = path.parent.relative_to(root).parts
    if "imagesTr" in inner[1:] or (inner and (path.parent / "imagesTr").is_dir()):
        return "lies one folder deeper than it should: name the folder that holds 'imagesTr' and 'labelsTr'"
    if nifti.is_nifti(path):
        if path.parent == root:
            return "lies outside the folder of a case: put the files of each case in a folder of their own"
        return f"is NIfTI whose ending stands for no known modality: {MORE_MODALITIES}"
    name = path.name.lower()
    for endings, said in _BY_ENDING.items():
        if name.endswith(endings):
            return said
    if dicom.is_dicom(root, path):
        return (
            "is DICOM, and neither its folder nor one above it has a mask beside it: put the mask there "
            "as X_seg.nii.gz, on the grid of the series"
        )
    if name.endswith((".dcm", ".ima")):
        return "is named like DICOM and is none (byte 128 does not say DICM)"
    start = safe_files.read_start(root, path, size_bytes=352)
    if start[344:348] == b"n+1\0":
        return "is NIfTI without its ending: name it X_t1.nii or the like"
    if start.startswith(b"\x1f\x8b"):
        return "is compressed under another ending than .nii.gz: name it so if it is NIfTI"
    return None
