"""Keep a library's chatter away from users: its prints, warnings and log lines."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """Drop what is printed or warned while a library is imported; errors still come out.

    >>> with quiet_import():
    ...     print("nobody reads this")
    """
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def left_out(package: str) -> Iterator[None]:
    """Import others as if a package were not installed, unless it is loaded already.

    For what they only look whether it is there, and that takes seconds and memory to load.

    >>> with left_out("tabnanny"):
    ...     import tabnanny
    Traceback (most recent call last):
    ModuleNotFoundError: import of tabnanny halted; None in sys.modules
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]


def silence(package: str) -> None:
    """Take printing, displaying and progress bars from every loaded module of a package.

    Works for all threads at once, and for that package alone: what others print is seen.
    """
    logging.getLogger(package).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=rf"{package}(\.|$)")
    for name, module in list(sys.modules.items()):
        if module is not None and (name == package or name.startswith(f"{package}.")):
            names = vars(module)
            names["print"] = _nothing
            if "display" in names:
                names["display"] = _nothing
            if "tqdm" in names:
                names["tqdm"] = _no_bar


def _nothing(*arguments: Any, **options: Any) -> None:
    """In place of `print` and `display`."""


class _no_bar:  # noqa: N801 - in place of tqdm, by its own name
    """In place of `tqdm`: an iterable and a context that shows nothing."""

    def __init__(self, iterable: Any = (), **options: Any) -> None:
        self._iterable = iterable

    def __iter__(self) -> Any:
        return iter(self._iterable)

    def __enter__(self) -> "_no_bar":
        return self

    def __exit__(self, *problem: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return _nothing
