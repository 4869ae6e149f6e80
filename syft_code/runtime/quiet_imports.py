"""Keep a library's chatter away from users, and what it brings and nobody uses out of the process.

quiet_import     its prints and warnings, while it is imported
left_out         what it only looks for
pysyft_imported  both, with stubs in place of PySyft's clouds and containers
stub             stubs for as long as the process lives
silence          its prints, displays and bars, from then on
"""

import contextlib
import importlib.abc
import importlib.machinery
import io
import logging
import sys
import warnings
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from types import ModuleType
from typing import Any

CLOUDS = frozenset({"azure", "boto3", "botocore", "docker", "kr8s", "s3transfer"})
"""Storage at Amazon's and Microsoft's, containers, Kubernetes: PySyft imports them, Consilium uses none."""
NOTEBOOK = frozenset({"itables"})
"""Tables in a notebook: a researcher's or an owner's PySyft may show some, where it is installed."""


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


@contextlib.contextmanager
def pysyft_imported() -> Iterator[None]:
    """Import PySyft without torch, and with stubs of what is used nowhere.

    Whatever else of the process imports one of them later gets it whole, if it is installed.
    """
    absent = {name for name in NOTEBOOK if find_spec(name) is None}
    with quiet_import(), left_out("torch"), _stubbed(CLOUDS | absent):
        yield


def stub(packages: Collection[str]) -> None:
    """Have `import` find stubs of these packages from now on, installed or not."""
    sys.meta_path.insert(0, _Stubs(packages))


@contextlib.contextmanager
def _stubbed(packages: Collection[str]) -> Iterator[None]:
    finder = _Stubs({name for name in packages if name not in sys.modules})
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if finder.has(name)]:
            del sys.modules[name]


class _Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds packages without code: each of their names is a class that can't be made.

    >>> stub({"antigravity"})
    >>> from antigravity.clouds import Client
    >>> Client()
    Traceback (most recent call last):
    ImportError: antigravity.clouds.Client is not used by Consilium, and is left out of this process.
    """

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = frozenset(packages)

    def has(self, name: str) -> bool:
        """Whether a module is of one of them."""
        return name.partition(".")[0] in self._packages

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A stub of this name, if it is of one of the packages."""
        if not self.has(fullname):
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """As any module is made."""

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it, and everything can be named."""

        def named(name: str) -> type:
            if name.startswith("__"):
                raise AttributeError(name)
            return _unusable(f"{module.__name__}.{name}")

        vars(module)["__getattr__"] = named


def _unusable(name: str) -> type:
    """A class to be named in an annotation or after `except`, and no more."""

    def refuse(self: object, *arguments: object, **options: object) -> None:
        raise ImportError(f"{name} is not used by Consilium, and is left out of this process.")

    return type(name.rpartition(".")[2], (Exception,), {"__init__": refuse})


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
