"""One process of a hospital, kept by its own user, so that nothing of a hospital stays root's.

    root: `hospital start` ─▶ keeper, the vault's user       ─▶ vault
                           ─▶ keeper, the front desk's user  ─▶ front desk
    then it is the user of the hospital's group, who tells what keepers say and owns nothing

A keeper writes what it has to say to its standard output, and ends with what it keeps when its standard
input ends, however its starter did.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Annotated

import typer

from datasites import site_processes
from datasites.site import Site
from datasites.site_users import SiteUsers
from syft_code import canonical
from syft_code.errors import ConsiliumError, Unavailable, require
from syft_code.operation import interrupts, process_user, supervisor
from syft_code.operation.process_spec import ProcessSpec
from syft_code.operation.process_user import ProcessUser
from syft_code.operation.supervisor import Say

MODULE = "datasites.hospital.keeper"
CODE = Path(__file__).parents[2]
STOP_S = 2 * supervisor.STOP_S


@canonical.message
class KeeperMessage:
    """What a keeper says; `ready` is said once, when what it keeps answers."""

    sentence: str = ""
    ready: bool = False


@contextmanager
def kept(made: Site, users: SiteUsers, *, start_timeout_s: float, say: Say) -> Iterator[None]:
    """Vault and front desk, each kept by its own user, until the block ends; this process leaves root for ever.

    Raises:
        Unavailable: with a keeper's last sentence, if it ends before what it keeps answers.
    """
    keepers: list[_Keeper] = []
    try:
        for spec in site_processes.parties(made, users):
            keepers.append(_Keeper(spec, made, start_timeout_s=start_timeout_s, say=say))
        process_user.become(ProcessUser(number=users.group, home=made.home))
        for keeper in keepers:
            keeper.wait_until_ready()
        yield
    except KeyboardInterrupt:
        for keeper in keepers:
            keeper.check()
        raise
    finally:
        with supervisor.signals_ignored():
            for keeper in keepers:
                keeper.let_go()
            for keeper in keepers:
                keeper.wait()


class _Keeper:
    """A keeper as its starter sees it."""

    def __init__(self, spec: ProcessSpec, made: Site, *, start_timeout_s: float, say: Say) -> None:
        user = spec.user
        if user is None:
            raise ValueError("a keeper is a user of its own")
        self._name, self._say = spec.name, say
        self._answered, self._last = threading.Event(), ""
        self._is_ready = self._released = self._ended = False
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", MODULE, "--home", str(made.home), "--module", spec.module,
                "--start-timeout", str(start_timeout_s),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CODE,
            env=user.environment(),
            user=user.number,
            group=user.number,
            extra_groups=user.groups,
            start_new_session=True,
        )  # fmt: skip
        threading.Thread(target=self._listen, name=f"reader of {spec.name}", daemon=True).start()

    def wait_until_ready(self) -> None:
        """Wait until what it keeps answers; its own limit ends it earlier."""
        while not self._answered.wait(
            supervisor.WAKE_S
        ):  # a signal's handler runs between two waits
            pass
        if not self._is_ready:
            raise Unavailable(self._last or f"{self._name} could not be kept.")

    def check(self) -> None:
        """Raise `Unavailable` if it has ended by itself."""
        require(
            not self._ended,
            f"Who keeps {self._name} must go on as long as the hospital, and has ended: start the hospital again "
            "as root.",
            error=Unavailable,
        )

    def let_go(self) -> None:
        """Have it end, with what it keeps."""
        self._released = True
        with suppress(BrokenPipeError):
            self._pipe(self._process.stdin).close()

    def wait(self) -> None:
        """Wait until it has ended; another user's process can't be made to."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=STOP_S)

    def _listen(self) -> None:
        """Read on until it ends, whatever becomes of what it says: a full pipe would hold it up."""
        for line in self._pipe(self._process.stdout):
            with suppress(Exception):  # no sentence of a keeper, or nobody listens to ours any more
                self._hear(
                    canonical.parse(KeeperMessage, line.rstrip(b"\n"), what="keeper's sentence")
                )
        self._ended = not self._released
        self._answered.set()
        if self._is_ready and self._ended:  # nobody keeps that part any more
            os.kill(os.getpid(), signal.SIGTERM)

    def _hear(self, told: KeeperMessage) -> None:
        if told.ready:
            self._is_ready = True
            self._answered.set()
        else:
            self._last = told.sentence
            self._say(told.sentence)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise ValueError("a keeper has both its pipes")
        return pipe


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    home: Annotated[Path, typer.Option(help="The hospital's folder.")],
    module: Annotated[str, typer.Option(help="The module of the process to keep.")],
    start_timeout: Annotated[float, typer.Option(help="Seconds in which it must answer.")],
) -> None:
    """Keep one process of a hospital until standard input ends."""
    os.umask(0o077)
    spec = next(spec for spec in site_processes.parties(Site(home)) if spec.module == module)
    interrupts.hear()
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        with supervisor.running([spec], start_timeout_s=start_timeout, say=_say):
            _tell(KeeperMessage(ready=True))
            supervisor.wait_for_interrupt()
    except KeyboardInterrupt:
        return
    except ConsiliumError as problem:
        _say(str(problem))
        sys.exit(1)


def _end_with_input() -> None:
    while os.read(0, 2**10):  # not `sys.stdin`, which an end of this process would wait for
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _say(sentence: str) -> None:
    _tell(KeeperMessage(sentence=sentence))


def _tell(told: KeeperMessage) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.buffer.write(canonical.encode(told) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    app()
