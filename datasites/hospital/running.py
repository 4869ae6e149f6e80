"""One hospital's folder made, its processes started, and how it is.

hospital.toml ─ make ─▶ HOME: keys, certificate, policy.toml ─ running ─▶ vault, front desk
"""

import contextlib
import datetime as dt
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from datasites import private_files, site, site_processes, site_users
from datasites.hospital import supervisor
from datasites.hospital.hospital_file import HospitalConfig
from datasites.hospital.supervisor import Say
from datasites.site import Site
from datasites.site_users import NUMBERS, SiteUsers
from policies import site_policy
from syft_code.errors import Refused, Unavailable, require
from syft_code.evidence import tls_certificates
from syft_code.runtime import durable_files

LOCK = "start.pid"
OWN_USERS = ("consilium", "consilium-owner", "consilium-vault", "consilium-desk")
"""What `deploy/consilium-sysusers.conf` calls a hospital's group and its three users."""
MODULES = {"vault": "datasites.vault.vault_process", "desk": "datasites.desk.desk_process"}
STOP_S = 30.0
SOON_DAYS = 30
LEAST_FREE_BYTES = 2 * 2**30


def make(config: HospitalConfig) -> Site:
    """Make a hospital's folder with keys, certificate and policy.toml, or go on with the one there is.

    Raises:
        Unavailable: if it is half written.
    """
    text = site_policy.text(config.policy(min_hospitals=config.min_hospitals))
    made = site.create(config.folder, config.site_settings(), policy=text)
    if config.tls == "own":
        _make_certificate(made, config)
    users = _users(config, made)
    if users is not None:
        users.give_folders(made)
    return made


def _make_certificate(made: Site, config: HospitalConfig) -> None:
    """A key and a self-signed certificate, unless there are some: the institution's, for example."""
    host = config.address.rpartition(":")[0].strip("[]")
    if not made.tls_key.exists():
        durable_files.write_durably(made.tls_key, tls_certificates.new_key(), owned_as_folder=True)
    if not made.certificate.exists():
        certificate = tls_certificates.self_signed(
            made.tls_key.read_bytes(), name=config.name, hosts=[host]
        )
        durable_files.write_durably(made.certificate, certificate, owned_as_folder=True)


def _users(config: HospitalConfig, made: Site) -> SiteUsers | None:
    """Who its processes run as: users of their own if root starts them.

    Raises:
        Refused: if root does, and they can't be.
    """
    if os.geteuid() != 0:
        return None
    numbers = range(config.first_user, config.first_user + NUMBERS)
    why = site_users.obstacle(numbers, {"the hospital's folder": made.home}, ours=OWN_USERS)
    require(
        not why,
        f"Root must start a hospital's processes as users of their own, and can't, since {why}. "
        f"{site_users.MEND}",
        error=Refused,
    )
    return SiteUsers.of(made, config.first_user)


@contextlib.contextmanager
def running(config: HospitalConfig, *, start_timeout_s: float, say: Say) -> Iterator[Site]:
    """The vault and the front desk, ready, restarted if one ends, until the block ends.

    Raises:
        Unavailable: if it runs already, a port is taken, or one of them does not start.
    """
    made = make(config)
    path = made.home / LOCK
    with private_files.lock_file(path) as lock:
        lock.truncate(0)
        lock.write(str(os.getpid()).encode("ascii"))
        lock.flush()
        parties = site_processes.parties(made, _users(config, made))
        with supervisor.running(parties, start_timeout_s=start_timeout_s, say=say):
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
    process = int(path.read_text(encoding="ascii"))
    os.kill(process, signal.SIGTERM)
    give_up = time.monotonic() + STOP_S
    while _is_held(config):
        require(
            time.monotonic() < give_up,
            f"{config.name} must stop in {STOP_S:.0f} s, and process {process} has not: see what it does.",
            error=Unavailable,
        )
        time.sleep(0.1)


def _is_held(config: HospitalConfig) -> bool:
    path = config.folder / LOCK
    if not path.exists():
        return False
    try:
        private_files.lock_file(path).close()
    except Unavailable:
        return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class HospitalCondition:
    """How a hospital is: each point with whether it is good, and a sentence."""

    points: tuple[tuple[str, bool, str], ...]

    @property
    def is_good(self) -> bool:
        """Whether all of them are."""
        return all(good for _, good, _ in self.points)


def condition(config: HospitalConfig) -> HospitalCondition:
    """Whether its processes answer, and how long certificate and disk will do.

    Raises:
        Unavailable: if it has no folder yet.
    """
    made = Site(config.folder)
    made.settings()
    return HospitalCondition(
        points=(
            _answers("vault", site_processes.vault_is_healthy(made.home)),
            _answers("front desk", site_processes.desk_is_healthy(made.home)),
            *((_certificate(made),) if config.tls == "own" else ()),
            _disk(made),
        )
    )


def _answers(name: str, healthy: bool) -> tuple[str, bool, str]:
    return name, healthy, "answers" if healthy else "does not answer"


def _certificate(made: Site) -> tuple[str, bool, str]:
    text = made.shown_certificate()
    ends = tls_certificates.ends(text)
    good = ends > dt.datetime.now(dt.UTC) + dt.timedelta(days=SOON_DAYS)
    said = f"valid until {ends:%Y-%m-%d}, SHA-256 {tls_certificates.fingerprint(text)}"
    return (
        "certificate",
        good,
        said if good else f"{said}: docs/deploy.md says how to have a new one",
    )


def _disk(made: Site) -> tuple[str, bool, str]:
    free = shutil.disk_usage(made.home).free
    good = free >= LEAST_FREE_BYTES
    said = f"{free / 2**30:,.1f} GiB free at {made.home}"
    return (
        "disk",
        good,
        said if good else f"{said}, below {LEAST_FREE_BYTES / 2**30:.0f}: make room",
    )
