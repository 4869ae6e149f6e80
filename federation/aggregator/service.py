"""One aggregator, put together once: keys, store, rules, log and metrics.

config ─▶ AggregatorService ─┬─ aggregation    the rules, for the researcher (grpc_server)
                              ├─ admin          for the operator's own user (admin_api)
                              └─ metrics        for Prometheus (metrics)
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

from federation.aggregator import identity as aggregator_identity
from federation.aggregator import study_records
from federation.aggregator.aggregation import Aggregation
from federation.aggregator.config import AggregatorConfig
from federation.aggregator.identity import Identity
from federation.aggregator.metrics import Condition, Metrics
from federation.aggregator.signed_log import AggregatorLog
from federation.aggregator.storage.store import AggregatorStore
from federation.aggregator.storage.vector_files import RESERVE_BYTES
from federation.aggregator.study_records import StudyFacts
from syft_code.errors import Unavailable, require
from syft_code.evidence import tls_certificates
from syft_code.operation import metrics_http
from syft_code.plans.messages import Signed
from syft_code.plans.roster import Aggregator

OPENED, WIPED = "study opened", "study wiped"


class AggregatorService:
    """One aggregator's parts, and what its operator may ask of them."""

    def __init__(
        self,
        config: AggregatorConfig,
        identity: Identity,
        store: AggregatorStore,
        public: Aggregator,
    ) -> None:
        self._config = config
        self._store = store
        self._book = AggregatorLog(name=config.name, key=identity.sign_key)
        self.metrics = Metrics(self.condition)
        with store.transaction() as database:
            self._book.prepare(database)
        self.aggregation = Aggregation(
            identity,
            store,
            public,
            researchers=frozenset(config.researchers),
            quotas=config.quotas,
            on_event=self.metrics.on_event,
            log=self._write_down,
        )

    def started(self) -> None:
        """Write into the log that this process serves from now on."""
        public = self.aggregation.public
        facts = {
            "name": public.name,
            "address": public.address,
            "certificate_sha256": tls_certificates.fingerprint(public.certificate),
            "version": metrics_http.program_version(),
        }
        with self._store.transaction() as database:
            self._book.append(database, "started", facts)

    def condition(self) -> Condition:
        """How it is."""
        with self._store.transaction() as database:
            opened, wiped = study_records.counts(database)
        return Condition(
            studies=opened,
            wiped_studies=wiped,
            stored_bytes=self._store.files.size_bytes(),
            free_bytes=shutil.disk_usage(self._config.folder).free,
            reserve_bytes=RESERVE_BYTES,
            max_stored_bytes=self._config.quotas.total_bytes,
        )

    def studies(self) -> tuple[StudyFacts, ...]:
        """Which studies were opened here."""
        with self._store.transaction() as database:
            return study_records.studies(database, self._store.files)

    def wipe(self, plan_hash: str) -> Signed:
        """Delete a study's shares and sums for ever; returns the log's entry about it."""
        self.aggregation.wipe(plan_hash)
        with self._store.transaction() as database:
            entry = self._book.newest(database, WIPED, plan_hash=plan_hash)
        require(
            entry is not None,
            "The log must have an entry of this wipe, and has none: don't trust this folder.",
            error=Unavailable,
        )
        return entry  # type: ignore[return-value]

    def exported_log(self) -> bytes:
        """The signed log, for others to check."""
        with self._store.transaction() as database:
            return self._book.export(database)

    def _write_down(self, kind: str, facts: Mapping[str, str]) -> None:
        """Called by the rules inside the store's transaction."""
        database = self._store.database
        if kind == WIPED:
            count, sha256 = study_records.headers_sha256(database, facts["plan_hash"])
            facts = {**facts, "headers": str(count), "headers_sha256": sha256}
        self._book.append(database, kind, facts)


@contextmanager
def opened(config: AggregatorConfig) -> Iterator[AggregatorService]:
    """A service whose folder this process has, without serving."""
    identity = aggregator_identity.load(config.folder, name=config.name, hosts=config.hosts)
    public = aggregator_identity.published(config.folder)
    with closing(AggregatorStore(config.folder)) as store:
        yield AggregatorService(config, identity, store, public)
