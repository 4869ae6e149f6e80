"""Taking shares: how they grow, and what happens to one that is whole.

    bytes ─▶ incoming file ─ open_share ─▶ payload file ─▶ row ─▶ the incoming file is deleted

Each arrow is on disk before the next, so that whatever breaks, a share is taken or can go on.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from federation.aggregator.storage import summation
from federation.aggregator.storage.store import AggregatorStore
from federation.aggregator.storage.upload_buffer import (
    IncomingShare,
    Quotas,
    UploadBuffer,
    Writer,
    appending,
)
from federation.aggregator.storage.vector_files import RoundKey, view
from federation.aggregator.validation import party_of
from federation.transport import aggregator_api
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused, require
from syft_code.plans.messages import ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Aggregator
from syft_code.secret_sharing import envelope

log = logging.getLogger(__name__)


class ShareIntake:
    """The shares that one aggregator takes. `on_event` is told of bytes and of whole shares."""

    def __init__(
        self,
        store: AggregatorStore,
        public: Aggregator,
        *,
        seal_key: bytes,
        quotas: Quotas,
        on_event: Callable[[str, int], None],
    ) -> None:
        self._store = store
        self._public = public
        self._seal_key = seal_key
        self._uploads = UploadBuffer(store.files, quotas)
        self._on_event = on_event

    def received(self, plan: Plan, signed: Signed) -> aggregator_api.ReceivedBytes:
        """How much of a share is here, once nobody is writing it."""
        header = envelope.check_header(plan, party_of(plan, self._public), signed)
        with self._uploads.turn((RoundKey.of(header), header.hospital)):
            if self._store.taken(header, signed):
                return _whole(header)
            size_bytes = self._store.files.arrived_bytes(_name(signed))
            return aggregator_api.ReceivedBytes(size_bytes=size_bytes, whole=False)

    def receive(
        self,
        plan: Plan,
        upload: aggregator_api.UploadShare,
        chunks: Iterable[bytes],
        *,
        cut_off: Callable[[], object],
    ) -> aggregator_api.ReceivedBytes:
        """Take the next bytes of a share; with the last ones, open it and keep its payload."""
        header = envelope.check_header(plan, party_of(plan, self._public), upload.header)
        with self._uploads.turn((RoundKey.of(header), header.hospital), cut_off) as writer:
            if self._store.taken(header, upload.header):
                return _whole(header)
            size_bytes = self._go_on(plan, header, upload, chunks, writer)
        if size_bytes < envelope.sealed_bytes(header):
            return aggregator_api.ReceivedBytes(size_bytes=size_bytes, whole=False)
        self._on_event("share_taken", size_bytes)
        log.info(
            "share of %s taken (%s, %s, round %d)",
            header.hospital, plan.hash[:12], header.purpose, header.round,
        )  # fmt: skip
        return _whole(header)

    def _go_on(
        self,
        plan: Plan,
        header: ShareHeader,
        upload: aggregator_api.UploadShare,
        chunks: Iterable[bytes],
        writer: Writer,
    ) -> int:
        """Append to a share; open it and keep its payload if it is whole. How much is here."""
        signed, round_key, files = upload.header, RoundKey.of(header), self._store.files
        name, whole_bytes = _name(signed), envelope.sealed_bytes(header)
        here = files.arrived_bytes(name)
        require(
            upload.offset == here,
            f"An upload must go on where it stopped: {here} bytes of this share are here, and this "
            f"one begins at byte {upload.offset}. Send the bytes from {here} on.",
            error=Refused,
        )
        self._uploads.promise(
            (round_key, header.hospital),
            whole_bytes - here + envelope.payload_bytes(header),
            room=summation.study_room(plan, header.party),
            held_bytes=self._store.held_bytes,
            sums_bytes=self._sums_bytes,
        )
        self._store.begin(header, signed, name)
        try:
            with appending(files.incoming(name), writer, limit_bytes=whole_bytes) as incoming:
                for chunk in chunks:
                    incoming.append(chunk)
                    self._on_event("upload_bytes", len(chunk))
                self._store.taken(header, signed)  # or it came too late meanwhile
                if incoming.size_bytes == whole_bytes:
                    self._take(plan, header, signed, incoming)
                return incoming.size_bytes
        except (InvalidMessage, Refused):
            self._store.drop(header, name)
            raise

    def _take(
        self, plan: Plan, header: ShareHeader, signed: Signed, incoming: IncomingShare
    ) -> None:
        """Open a share that is whole, chunk by chunk, and keep its payload."""
        payload = envelope.open_share(
            plan,
            party_of(plan, self._public),
            signed,
            view(incoming.descriptor),
            seal_key=self._seal_key,
        )
        verify_key = plan.hospital(header.hospital).verify_key
        with self._store.files.written(payload, envelope.payload_bytes(header)) as path:
            self._store.keep(header, signed, path, verify_key=verify_key, name=_name(signed))

    def _sums_bytes(self, round_keys: Collection[RoundKey]) -> Counter[str]:
        """What the sums of these round keys, and of all others with a share here, will take.

        By the plan's hash.
        """
        found: Counter[str] = Counter()
        for round_key in {*self._store.open_round_keys(), *round_keys}:
            plan = self._store.known_plan(round_key.plan_hash)
            size_bytes = summation.sums_bytes(plan, round_key.purpose, party_of(plan, self._public))
            found[round_key.plan_hash] += size_bytes
        return found


def _name(signed: Signed) -> str:
    """Under which name a share grows."""
    return canonical.sha256(signed.message.encode("utf-8", "replace"))


def _whole(header: ShareHeader) -> aggregator_api.ReceivedBytes:
    return aggregator_api.ReceivedBytes(size_bytes=envelope.sealed_bytes(header), whole=True)
