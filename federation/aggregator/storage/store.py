"""What an aggregator must not forget: studies, shares, and which set it chose.

`HOME/state.sqlite` holds public metadata only (plans, signed headers, chosen sets); the
vectors lie beside it (`vector_files`). The order of writing makes it durable: a file is
on disk before the row that speaks of it, the chosen set is committed before it is signed, and
shares are deleted once their sums are on disk, so that a later thief of all the disks finds
sums only. Signed headers stay for good: they anchor the hospitals' audit logs.

`before_commit` is called inside a transaction, last: if it raises, nothing has happened.
"""

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from federation.aggregator.storage import db_schema, rows
from federation.aggregator.storage.rows import SetCommitment, WipeRecord
from federation.aggregator.storage.summation import Sum
from federation.aggregator.storage.vector_files import RoundKey, VectorFiles, room_needed
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused, require
from syft_code.plans.messages import ShareHeader, Signed
from syft_code.plans.plan import Plan

BeforeCommit = Callable[[], None]


class AggregatorStore:
    """An aggregator's durable state; may be used from several threads.

    Raises:
        Unavailable: if the folder is damaged, or the disk is full.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.files = VectorFiles(home)
        self._lock = threading.Lock()
        self._database = db_schema.connect(home)
        with self.transaction() as database:
            database.execute(db_schema.FORGET_UPLOADS)
            uploads = database.execute(db_schema.UPLOADS).fetchall()
            waiting = database.execute(db_schema.WAITING).fetchall()
            sums = database.execute(db_schema.SUMS).fetchall()
        self.files.tidy(
            incoming=[self.files.incoming(name) for (name,) in uploads],
            shares=[self.files.share(rows.round_key_of(row), row[3]) for row in waiting],
            sums=[self.files.sum(rows.round_key_of(row), row[3], row[4]) for row in sums],
        )

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._database.close()

    @property
    def database(self) -> sqlite3.Connection:
        """The database, for use inside a transaction: by what is called before its commit."""
        return self._database

    # --- studies ---

    def add_study(self, plan: Plan, before_commit: BeforeCommit) -> bool:
        """Remember a plan; returns whether it is new.

        Raises:
            Refused: if the study was wiped.
        """
        self.files.require_room(len(plan.encode()))
        with self.transaction() as database:
            rows.check_not_wiped(database, plan.hash)
            if database.execute(db_schema.PLAN, (plan.hash,)).fetchone():
                return False
            database.execute(db_schema.ADD_STUDY, (plan.hash, plan.encode()))
            before_commit()
        return True

    def plan(self, plan_hash: str) -> Plan:
        """The plan of a study; raise `Refused` if it was not opened here, or was wiped."""
        with self.transaction() as database:
            rows.check_not_wiped(database, plan_hash)
        return self.known_plan(plan_hash)

    def known_plan(self, plan_hash: str) -> Plan:
        """The plan of a study, wiped or not; raise `Refused` if it was not opened here."""
        with self.transaction() as database:
            row = database.execute(db_schema.PLAN, (plan_hash,)).fetchone()
        require(row is not None, "The study must be opened here first.", error=Refused)
        return rows.decoded_plan(row[0])

    # --- shares ---

    def taken(self, header: ShareHeader, signed: Signed) -> bool:
        """Whether exactly this share is here, whole.

        Raises:
            Refused: if a share can't be taken any more, because another one of the hospital
                was, or the set was chosen.
        """
        with self.transaction() as database:
            return rows.is_taken(database, header, signed)

    def begin(self, header: ShareHeader, signed: Signed, name: str) -> None:
        """Expect a share under a passing name; what there was of a hospital's other one goes."""
        round_key = RoundKey.of(header)
        with self.transaction() as database:
            rows.is_taken(database, header, signed)
            key = (*round_key.key, header.hospital)
            row = database.execute(db_schema.UPLOAD, key).fetchone()
            if row == (name,):
                return
            database.execute(db_schema.SET_UPLOAD, (*key, name))
        if row:
            self.files.incoming(row[0]).unlink(missing_ok=True)

    def drop(self, header: ShareHeader, name: str) -> None:
        """Throw away what has arrived of a share."""
        with self.transaction() as database:
            database.execute(
                db_schema.DROP_UPLOAD, (*RoundKey.of(header).key, header.hospital, name)
            )
        self.files.incoming(name).unlink(missing_ok=True)

    def keep(
        self, header: ShareHeader, signed: Signed, payload: Path, *, verify_key: str, name: str
    ) -> None:
        """Take a hospital's payload for good; raise `Refused` as `taken` does."""
        round_key, settled = RoundKey.of(header), False
        target = self.files.share(round_key, header.hospital)
        row = (*round_key.key, header.hospital, canonical.encode(signed), verify_key)
        try:
            with self.transaction() as database:
                if rows.is_taken(database, header, signed):
                    return
                settled = True
                self.files.settle(payload, target)
                database.execute(db_schema.ADD_SHARE, row)
                database.execute(db_schema.DROP_UPLOAD, (*round_key.key, header.hospital, name))
        except BaseException:
            if settled:
                target.unlink(missing_ok=True)
            raise
        self.files.incoming(name).unlink(missing_ok=True)

    def open_round_keys(self) -> list[RoundKey]:
        """The round keys with a share, or a part of one, whose sums are not worked out yet."""
        with self.transaction() as database:
            return [
                rows.round_key_of(row) for row in database.execute(db_schema.OPEN_SLOTS).fetchall()
            ]

    def held_bytes(self, plan_hash: str) -> Counter[str]:
        """What lies here of a study: each hospital's shares, whole or not, and "" for its sums."""
        with self.transaction() as database:
            uploads = database.execute(db_schema.HOSPITALS_UPLOADS, (plan_hash,)).fetchall()
        found: Counter[str] = Counter()
        for hospital, name in uploads:
            found[hospital] += self.files.arrived_bytes(name)
        return found + self.files.settled_bytes(plan_hash)

    def headers(self, round_key: RoundKey) -> list[Signed]:
        """The signed headers of the shares that were taken for a round key."""
        with self.transaction() as database:
            found = database.execute(db_schema.SHARES, round_key.key).fetchall()
        return [rows.signed_of(data) for _, data in found]

    def newest_headers(self, verify_key: str, *, at_most: int) -> list[Signed]:
        """The signed share headers of a hospital's key, in the order in which they arrived."""
        with self.transaction() as database:
            found = database.execute(db_schema.NEWEST_HEADERS, (verify_key, at_most)).fetchall()
        return [rows.signed_of(data) for (data,) in reversed(found)]

    # --- choices and sums ---

    def choice(self, round_key: RoundKey) -> SetCommitment | None:
        """The set that was chosen for a round key."""
        with self.transaction() as database:
            return rows.commitment_of(database, round_key)

    def choose(
        self, round_key: RoundKey, hospitals: tuple[str, ...], before_commit: BeforeCommit
    ) -> tuple[SetCommitment, bool]:
        """Commit to the one set for a round key: this one, or the one before; whether this is new.

        Raises:
            Refused: if none was chosen, and a share of this one is not here.
        """
        with self.transaction() as database:
            rows.check_not_wiped(database, round_key.plan_hash)
            choice = rows.commitment_of(database, round_key)
            if choice:
                return choice, False
            here = {name for name, _ in database.execute(db_schema.SHARES, round_key.key)}
            require(
                here.issuperset(hospitals),
                f"All shares of the set must be here whole, and {len(here.intersection(hospitals))}"
                f" of {len(hospitals)} are: send the others, or ask all aggregators for a smaller "
                "set.",
                error=Refused,
            )
            database.execute(db_schema.ADD_CHOICE, (*round_key.key, " ".join(hospitals)))
            late = database.execute(db_schema.UPLOADS_OF, round_key.key).fetchall()
            database.execute(db_schema.DROP_UPLOADS_OF, round_key.key)
            before_commit()
        for (name,) in late:
            self.files.incoming(name).unlink(missing_ok=True)
        return SetCommitment(hospitals=hospitals, signed=None, summed=False), True

    def keep_choice(self, round_key: RoundKey, signed: Signed) -> None:
        """Keep a signed SetChoice for good."""
        with self.transaction() as database:
            database.execute(db_schema.SIGN_CHOICE, (canonical.encode(signed), *round_key.key))

    def finish(
        self,
        round_key: RoundKey,
        sums: Sequence[Sum],
        before_commit: BeforeCommit,
    ) -> None:
        """Keep a round key's signed sum headers for good, then delete its shares."""
        with self.transaction() as database:
            for one in sums:
                number = (one.header.group, one.header.piece)
                row = (*round_key.key, *number, canonical.encode(one.signed))
                database.execute(db_schema.ADD_SUM, row)
            database.execute(db_schema.SUMMED, round_key.key)
            shares = database.execute(db_schema.SHARES, round_key.key).fetchall()
            before_commit()
        for hospital, _ in shares:
            self.files.share(round_key, hospital).unlink(missing_ok=True)

    def sum_header(self, round_key: RoundKey, group: int, piece: int) -> Signed:
        """A worked-out sum's signed header; raise `InvalidMessage` if there is no such sum."""
        with self.transaction() as database:
            row = database.execute(db_schema.SUM, (*round_key.key, group, piece)).fetchone()
        require(
            row is not None,
            "A sum must be of a group of this round and of a piece that this aggregator holds.",
            error=InvalidMessage,
        )
        return rows.signed_of(row[0])

    # --- wiping ---

    def begin_wipe(self, plan_hash: str) -> bool:
        """Mark a study as wiped, for ever; returns whether its vectors are still to be deleted."""
        shares, sums = self.files.of_study(plan_hash)
        with self.transaction() as database:
            known = database.execute(db_schema.PLAN, (plan_hash,)).fetchone()
            require(known is not None, "A study must be opened here to be wiped.", error=Refused)
            wipe = database.execute(db_schema.WIPE, (plan_hash,)).fetchone()
            if wipe is None:
                uploads = database.execute(db_schema.UPLOADS_OF_STUDY, (plan_hash,)).fetchall()
                parts = [
                    path for (name,) in uploads if (path := self.files.incoming(name)).exists()
                ]
                size = sum(path.stat().st_size for path in (*parts, *shares, *sums))
                row = (plan_hash, len(parts) + len(shares), len(sums), size)
                database.execute(db_schema.ADD_WIPE, row)
        return wipe is None or not wipe[3]

    def finish_wipe(
        self, plan_hash: str, before_commit: Callable[[WipeRecord], None]
    ) -> WipeRecord:
        """Delete a study's vectors, then its wipe is over; signed headers and choices stay."""
        with self.transaction() as database:
            uploads = database.execute(db_schema.UPLOADS_OF_STUDY, (plan_hash,)).fetchall()
        shares, sums = self.files.of_study(plan_hash)
        parts = [self.files.incoming(name) for (name,) in uploads]
        self.files.delete_durably((*parts, *shares, *sums))
        with self.transaction() as database:
            database.execute(db_schema.DROP_UPLOADS_OF_STUDY, (plan_hash,))
            database.execute(db_schema.FINISH_WIPE, (plan_hash,))
            wiped = rows.wiped_of(database, plan_hash)
            before_commit(wiped)
        return wiped

    def wiped(self, plan_hash: str) -> WipeRecord:
        """What was deleted of a study that was wiped."""
        with self.transaction() as database:
            return rows.wiped_of(database, plan_hash)

    def unfinished_wipes(self) -> list[str]:
        """The studies whose wipe was broken off."""
        with self.transaction() as database:
            return [plan_hash for (plan_hash,) in database.execute(db_schema.UNFINISHED_WIPES)]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one at a time, on disk when it is over. Don't nest."""
        with self._lock, room_needed(self.home):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
