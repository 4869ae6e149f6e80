"""Whatever a page shows is escaped and visible, and an installed package has its templates."""

import tomllib
from pathlib import Path

import jinja2
import pytest

from syft_code.runtime import html_templates

ROOT = Path(__file__).parents[3]
HOSTILE = "<script>\u202e\"'&\x1b[0m"


def rendered(template: str, **values: object) -> str:
    return html_templates.environment("datasites.review").from_string(template).render(**values)


def test_a_value_is_escaped_and_made_visible_in_text_and_in_an_attribute() -> None:
    shown = r"&lt;script&gt;\u202e&#34;&#39;&amp;\x1b[0m"
    assert (
        rendered('<i title="{{ v }}">{{ v }}</i>', v=HOSTILE) == f'<i title="{shown}">{shown}</i>'
    )


def test_what_a_macro_wrote_is_not_escaped_twice() -> None:
    page = "{% macro b(v) %}<b>{{ v }}</b>{% endmacro %}{{ b(v) }}"
    assert rendered(page, v="&") == "<b>&amp;</b>"


def test_a_misspelt_name_is_an_error_and_not_an_empty_place() -> None:
    with pytest.raises(jinja2.UndefinedError):
        rendered("{{ epsilom }}", epsilon=1)


def test_every_template_and_schema_is_installed_with_its_package() -> None:
    """A file that no pattern names is there in a checkout and missing after `pip install`."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = {
        path
        for package, patterns in settings["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    needed = {
        path
        for room in ("datasites", "federation", "policies", "syft_code")
        for ending in ("j2", "toml", "css", "capnp")
        for path in (ROOT / room).rglob(f"*.{ending}")
    }
    assert needed and needed == listed
