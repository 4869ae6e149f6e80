"""Every relative link of a document leads to a file, its anchor to a heading; its text says which."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")})
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)\s]+)\)")
NAMED = re.compile(r"\[`?([^\]`]*\.py)`?\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.M)


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as a forge makes them."""
    plain = (heading.lower().replace("`", "") for heading in HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_link_of_a_document_leads_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_that_is_called_by_a_files_name_leads_to_that_file(document: Path) -> None:
    for text, link in NAMED.findall(document.read_text(encoding="utf-8")):
        assert Path(text).name == Path(link.partition("#")[0]).name, (text, link)
