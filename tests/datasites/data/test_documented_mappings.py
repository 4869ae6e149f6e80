"""Each mapping that docs/data.md shows is one that is accepted, and names who is one person."""

import re
from pathlib import Path

import pytest

from datasites.data.folders import identifiers
from datasites.data.readers.images import picture_mapping
from datasites.data.readers.tabular import table_schema
from datasites.data.readers.volumes import mapping

PAGE = Path(__file__).parents[3] / "docs" / "data.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SCHEMAS = [text for text in EXAMPLES if "[[column]]" in text and 'kind = "table"' in text]
IMAGES = [text for text in EXAMPLES if "patient_unit" in text and text not in SCHEMAS]
VOLUMES = [text for text in EXAMPLES if "affine" in text]
FILES = [text for text in EXAMPLES if text.startswith("[files]") and text not in VOLUMES]


def test_every_example_is_of_a_kind() -> None:
    assert len(EXAMPLES) == len(SCHEMAS) + len(IMAGES) + len(VOLUMES) + len(FILES)
    assert len(IMAGES) == 4 and SCHEMAS and VOLUMES


@pytest.mark.parametrize("text", SCHEMAS)
def test_a_schema_is_accepted(text: str) -> None:
    # `same` and `different` stand there side by side to be chosen from.
    table_schema.parse(text.encode(), name="schema.toml")


@pytest.mark.parametrize("text", IMAGES)
def test_a_mapping_of_pictures_is_accepted(text: str) -> None:
    picture_mapping.parse(text.encode())


@pytest.mark.parametrize("text", VOLUMES)
def test_a_mapping_of_volumes_is_accepted(text: str) -> None:
    mapping.parse(text.encode())


NAMES = {
    "Paediatric": (("person12_bacteria_46", "person12_virus_47", "person3_virus_15", "IM-0115-0001", "IM-0117-0001", "NORMAL2-IM-0501-0001", "NORMAL2-IM-0502-0001"), 6),
    "Diabetic": (("10_left", "10_right", "13_left"), 2),
}  # fmt: skip


@pytest.mark.parametrize("title", NAMES)
def test_the_published_names_of_an_example_are_the_persons_that_it_says(title: str) -> None:
    (text,) = (text for text in IMAGES if title in text)
    rule = picture_mapping.parse(text.encode()).persons
    names, persons = NAMES[title]
    found = identifiers.persons(names, rule, where=lambda i: names[i], mapping="images.toml")
    assert len(set(found)) == persons
