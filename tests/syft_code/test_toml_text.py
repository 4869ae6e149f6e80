"""TOML that somebody wrote costs what its length says."""

import pytest

from syft_code import toml_text


@pytest.mark.parametrize("mark", ["\u2028", "\u0085"])
def test_what_only_python_takes_for_the_end_of_a_line_hides_no_dots(mark: str) -> None:
    part = "a." * (toml_text.MOST_DOTS - 1) + f'"{mark}".'
    with pytest.raises(ValueError, match="at most 200 dots"):
        toml_text.loads(2 * part + "a = 1")
