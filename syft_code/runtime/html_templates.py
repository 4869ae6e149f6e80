"""HTML pages by Jinja2, for both sides of the building."""

import functools

import jinja2
from markupsafe import Markup

from syft_code.runtime.visible_text import visible


@functools.cache
def environment(package: str) -> jinja2.Environment:
    """The templates in a package's own folder `templates`.

    Guarantee: every value is escaped, a character that can't be seen is written as its number,
        and a name that a template misspells raises.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _visible(value: object) -> object:
    """What a template writes: its own markup as it is, anything else with every character shown."""
    return value if isinstance(value, Markup) else visible(str(value))
