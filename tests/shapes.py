"""Small shapes of data of every kind, for tests of what is built on them."""

from dataclasses import replace

from syft_code.recipes.recipe import DataSpec

SKIN = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=17,
    width_px=22,
    classes=("akiec", "bcc", "mel", "nv"),
    patient_unit="lesion",
    stand_in=True,
)
SKIN_FACTS = replace(SKIN, facts=("age", "age?"))
BRAIN = DataSpec(
    kind="brats",
    task="segmentation",
    channels=("t1", "t1ce", "t2", "flair"),
    height_px=16,
    width_px=24,
    classes=("background", "necrotic core", "edema", "enhancing tumour"),
    patient_unit="patient",
    stand_in=True,
)
BRAIN_FACTS = replace(BRAIN, facts=("age", "age?"))
TABLE = DataSpec(
    kind="table",
    task="classification",
    channels=(),
    height_px=0,
    width_px=0,
    classes=("well", "ill"),
    patient_unit="patient",
    stand_in=True,
    facts=("age", "sex", "pressure", "cholesterol", "cholesterol?"),
    positive="ill",
)
SERIES = DataSpec(
    kind="series",
    task="classification",
    channels=("vitals",),
    height_px=12,
    width_px=5,
    classes=("lives", "dies"),
    patient_unit="patient",
    stand_in=True,
    positive="dies",
)
