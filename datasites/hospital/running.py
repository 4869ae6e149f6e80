"""One hospital's folder made, its processes started and stopped.

hospital.toml ─ make ─▶ HOME: keys, certificate, policy.toml ─ running ─▶ vault, front desk
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from datasites import private_files, site, site_processes, site_users
from datasites.hospital import keeper
from datasites.hospital.hospital_file import HospitalConfig
from datasites.site import Site
from datasites.site_users import NUMBERS, SiteUsers
from policies import site_policy
from syft_code.errors import InvalidInput, Refused, Unavailable, require
from syft_code.evidence import tls_certificates
from syft_code.operation import supervisor
from syft_code.operation.supervisor import Say
from syft_code.runtime import addresses, durable_files, tls

LOCK = "start.pid"
OWN_USERS = ("consilium", "consilium-owner", "consilium-vault", "consilium-desk")
"""What `deploy/consilium-sysusers.conf` calls a hospital's group and its three users."""
STOP_S = 30.0


def make(config: HospitalConfig) -> Site:
    """Make a hospital's folder with keys, certificate and policy.toml, or go on with the one there is.

    Raises:
        InvalidInput: if the relay's certificate can't be read.
        Refused: if root does, and its processes can't be users of their own.
        Unavailable: if the folder is half written. Nothing is changed in any of these cases.
    """
    return _made(config, _users(config))


def _made(config: HospitalConfig, users: SiteUsers | None) -> Site:
    relay = _relay_certificate(Path(config.relay_certificate)) if config.relay else b""
    if users is not None:
        users.require_ours(Site(config.folder))
    text = site_policy.text(config.policy(min_hospitals=config.min_hospitals))
    made = site.create(config.folder, config.site_settings(), policy=text)
    if config.tls == "own":
        _make_certificate(made, config)
    if relay:
        durable_files.write_durably(made.relay_certificate, relay, owned_as_folder=True)
    if users is not None:
        users.give_folders(made)
    return made


def _make_certificate(made: Site, config: HospitalConfig) -> None:
    """A key and a self-signed certificate, unless there are some: the institution's, for example."""
    found = addresses.split(config.address)
    hosts = [found[0]] if found else []
    if not made.tls_key.exists():
        durable_files.write_durably(made.tls_key, tls_certificates.new_key(), owned_as_folder=True)
    if not made.certificate.exists():
        try:
            certificate = tls_certificates.self_signed(
                made.tls_key.read_bytes(), name=config.name, hosts=hosts
            )
        except (OSError, ValueError, TypeError):
            raise InvalidInput(
                f"{made.tls_key} must be a private key (PEM), and can't be read as one: remove it, and a new one is "
                "made."
            ) from None
        durable_files.write_durably(made.certificate, certificate, owned_as_folder=True)


def _relay_certificate(file: Path) -> bytes:
    try:
        certificate = file.read_text(encoding="ascii")
    except (OSError, ValueError):
        raise InvalidInput(
            f"relay_certificate must be the relay's certificate, and {file} can't be read as one: ask its operator "
            "for the file."
        ) from None
    tls.pinned(certificate)
    return certificate.encode("ascii")


def _users(config: HospitalConfig) -> SiteUsers | None:
    """Who its processes run as: users of their own if root starts them.

    Raises:
        Refused: if root does, and they can't be.
    """
    if os.geteuid() != 0:
        return None
    numbers = range(config.first_user, config.first_user + NUMBERS)
    place = next(path for path in (config.folder, *config.folder.parents) if path.is_dir())
    why = site_users.obstacle(numbers, {"the hospital's folder": place}, ours=OWN_USERS)
    require(
        not why,
        f"Root must start a hospital's processes as users of their own, and can't, since {why}. "
        f"{site_users.MEND}",
        error=Refused,
    )
    return SiteUsers.of(Site(config.folder), config.first_user)


@contextlib.contextmanager
def running(config: HospitalConfig, *, start_timeout_s: float, say: Say) -> Iterator[Site]:
    """The vault and the front desk, ready, restarted if one ends, until the block ends.

    Root gives each of them a keeper of its own user, and is root no more.

    Raises:
        Unavailable: if it runs already, a port is taken, or one of them does not start.
    """
    require(
        not _is_held(config),
        f"{config.name} must run once, and runs already: see `consilium hospital status`.",
        error=Unavailable,
    )
    users = _users(config)
    made = _made(config, users)
    path = made.home / LOCK
    with private_files.lock_file(path) as lock:
        path.chmod(0o600)  # who may open it may hold it
        lock.truncate(0)
        lock.write(_mark(os.getpid()).encode("ascii"))
        lock.flush()
        with (
            supervisor.running(
                site_processes.parties(made), start_timeout_s=start_timeout_s, say=say
            )
            if users is None
            else keeper.kept(made, users, start_timeout_s=start_timeout_s, say=say)
        ):
            yield made


def stop(config: HospitalConfig) -> None:
    """Stop a hospital that `running` runs, and wait until it has.

    Raises:
        Unavailable: if it does not run, or does not stop.
    """
    path = config.folder / LOCK
    require(
        _is_held(config),
        f"{config.name} must run under `consilium hospital start` to be stopped here, and does not: what systemd "
        "started, `systemctl stop` ends.",
        error=Unavailable,
    )
    mark = path.read_text(encoding="ascii")
    process = int(mark.partition(" ")[0] or 0)
    require(
        process > 0 and _mark(process) == mark,
        f"{path} must name the process that runs {config.name}, and names none that does: end that by hand.",
        error=Unavailable,
    )
    os.kill(process, signal.SIGTERM)
    give_up = time.monotonic() + STOP_S
    while _is_held(config):
        require(
            time.monotonic() < give_up,
            f"{config.name} must stop in {STOP_S:.0f} s, and process {process} has not: see what it does.",
            error=Unavailable,
        )
        time.sleep(0.1)


def _mark(process: int) -> str:
    """A process and when it began, so that a later one with its number is not taken for it."""
    try:
        return f"{process} {psutil.Process(process).create_time()}"
    except psutil.NoSuchProcess:
        return ""


def _is_held(config: HospitalConfig) -> bool:
    path = config.folder / LOCK
    if not path.exists():
        return False
    try:
        private_files.lock_file(path).close()
    except Unavailable:
        return True
    return False
