"""The researcher: logins, a signing key, and the way to every hospital and aggregator."""

import dataclasses
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from federation.researcher import release_schedule
from federation.researcher.storage.credentials import Credentials, HospitalLogin
from federation.researcher.storage.kept_studies import FOLDER, KeptStudies, KeptStudy
from federation.researcher.study import Study
from federation.researcher.syft_client import HospitalClient
from federation.strategy import noise_sharing
from federation.transport.aggregator_client import AggregatorClient
from syft_code.errors import InvalidInput, Refused, Unavailable, require
from syft_code.local_training.broadcast import PublicVectors
from syft_code.plans.catalogue import AssetCard, Terms
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Hospital
from syft_code.privacy import accounting

THEIR_OWN = frozenset({"study", "researcher_key", "data", "hospitals", "aggregators", "format"})
"""Fields of a plan that follow from the credentials and the catalogue."""


class Researcher:
    """A researcher, logged in at every hospital that answers; without `studies` none is kept on disk.

    Raises:
        Unavailable: if none does.
        InvalidMessage: if one does not accept the login.

    >>> researcher = Researcher.connect("federation_state/researcher.json")  # doctest: +SKIP
    """

    def __init__(self, credentials: Credentials, *, studies: KeptStudies | None = None) -> None:
        self.key = SigningKey(bytes.fromhex(credentials.signing_key))
        self._aggregators = credentials.aggregators
        self._studies = studies
        with ThreadPoolExecutor(len(credentials.accounts)) as pool:
            self._known = list(pool.map(_reach, credentials.accounts))
        require(
            any(hospital.here for hospital in self._known),
            f"At least one of {len(self._known)} front desks must answer, and none does: see that "
            "they run, and that this machine reaches them.",
            error=Unavailable,
        )
        self.aggregators = [AggregatorClient(a) for a in credentials.aggregators]

    @classmethod
    def connect(cls, path: str | Path) -> "Researcher":
        """Log in everywhere with a credentials file; studies are kept in a folder beside it."""
        file = Path(path)
        return cls(Credentials.load(file), studies=KeptStudies(file.parent / FOLDER))

    @property
    def hospitals(self) -> list[HospitalClient]:
        """The hospitals at which this researcher is logged in."""
        return [hospital for hospital in self._known if hospital.here]

    @property
    def away(self) -> tuple[str, ...]:
        """The hospitals of the credentials whose front desk has not answered yet."""
        return tuple(hospital.name for hospital in self._known if not hospital.here)

    def close(self) -> None:
        """Let the connections go."""
        for hospital in self._known:
            hospital.close()
        for aggregator in self.aggregators:
            aggregator.close()

    def catalogue(self) -> list[AssetCard]:
        """Every asset of every hospital."""
        return [card for hospital in self.hospitals for card in hospital.catalogue()]

    def terms(self) -> dict[str, Terms]:
        """What each hospital asks of every study, by its name."""
        return {hospital.name: hospital.terms() for hospital in self.hospitals}

    def study(
        self,
        study: str,
        *,
        asset: str = "",
        epsilon: float | None = None,
        public: PublicVectors | None = None,
        **choices: Any,
    ) -> Study:
        """A study by its name: a new one over one asset that several hospitals offer, or one that is kept.

        With the name alone a study that was submitted from here goes on, also after a restart; so it
        does where all choices are those that it was made with.

        `choices` are the fields of `Plan` that are the researcher's: recipe, dp_sgd,
        optimizer, rounds, and as wished min_hospitals, evaluation and sharing. Without
        min_hospitals it is the most that any of these hospitals' terms ask for. With `epsilon` the
        noise of dp_sgd and evaluation is replaced by the least that keeps the whole study within
        it at the smallest delta of these terms, and that all of them allow. With `shared_noise` and no
        `sharing`, the ring and the fixed point follow from the plan's public numbers
        (`noise_sharing.with_shared_noise`). Without a `release_schedule` one is
        made from a run of seconds on the mock; `release_schedule=None` lets results leave when they are
        ready. `public` are the start weights that `start_sha256` names, and the vectors that
        `continual` names.

        Raises:
            InvalidInput: if there is no such study, or a submitted one of this name has other choices.
            InvalidPlan: if a choice is not one.
            Refused: if no hospital offers the asset, or they offer it in different shapes.
        """
        kept = self._studies.find(study) if self._studies else None
        if not asset and not choices:
            if kept is None:
                raise InvalidInput(
                    f"There must be a study {study!r} that was submitted from here, and there is none: "
                    "`researcher.studies()` lists them; a new one needs an asset and a plan."
                )
            return self.resume(kept.plan, public=kept.public)
        _check_names(choices)
        hospitals, plan = self._planned(asset, epsilon, choices | {"study": study})
        if kept is not None:
            schedule = choices.get("release_schedule", kept.plan.release_schedule)
            require(
                replace(plan, release_schedule=schedule) == kept.plan,
                f"A study {study!r} was submitted with another plan (choices, versions of assets or the "
                "hospitals that answer now differ), and an approval is for exact bytes: go on with that "
                f"one by researcher.study({study!r}), or give this one another name.",
                error=InvalidInput,
            )
            return self.resume(kept.plan, public=kept.public)
        if "release_schedule" not in choices:
            plan = replace(plan, release_schedule=release_schedule.from_mock(plan, hospitals))
        read_back = Plan.decode(plan.encode())  # as every party will, which is strict about types
        return self._study(read_back, hospitals, self.aggregators, public)

    def studies(self) -> list[KeptStudy]:
        """All studies that were submitted from here, the oldest first, each with how far it came."""
        return list(self._studies or ())

    def _planned(
        self, asset: str, epsilon: float | None, choices: dict[str, Any]
    ) -> tuple[list[HospitalClient], Plan]:
        """The hospitals that offer an asset, and the plan over it, without a schedule of its own."""
        cards = [card for card in self.catalogue() if card.asset == asset]
        if not cards:
            raise Refused(f"No hospital offers an asset {asset!r}: see the catalogue.")
        require(
            len({card.spec for card in cards}) == 1,
            f"The hospitals offer {asset!r} in different shapes: choose another asset.",
            error=Refused,
        )
        offering = {card.hospital for card in cards}
        hospitals = [h for h in self.hospitals if h.name in offering]
        terms = [hospital.terms() for hospital in hospitals]
        shared = choices.pop("shared_noise", None)
        plan = Plan(
            researcher_key=self.key.verify_key.encode().hex(),
            data=cards[0].spec,
            hospitals=tuple(_entry(card) for card in cards),
            aggregators=self._aggregators,
            **({"min_hospitals": max(one.min_hospitals for one in terms)} | choices),
        )
        least_noise = max(one.min_noise_multiplier for one in terms) if epsilon is not None else 0.0
        if epsilon is not None:
            plan = accounting.within(
                plan, epsilon, delta=min(one.delta for one in terms), least_noise=least_noise
            )
        if shared is not None:
            plan = noise_sharing.with_shared_noise(
                plan, shared, least_noise=least_noise, keep_sharing="sharing" in choices
            )
        return hospitals, plan

    def _study(
        self,
        plan: Plan,
        hospitals: list[HospitalClient],
        aggregators: list[AggregatorClient],
        public: PublicVectors | None,
    ) -> Study:
        return Study(
            plan,
            hospitals=hospitals,
            aggregators=aggregators,
            key=self.key,
            public=public,
            kept=self._studies.new(plan, public or PublicVectors()) if self._studies else None,
        )

    def resume(self, plan: Plan, *, public: PublicVectors | None = None) -> Study:
        """A study by its plan, as `Study.plan` has it and a certificate repeats it.

        Hospitals of its roster that are away count as absent, and are tried again in each round.

        Raises:
            InvalidInput: if it is another researcher's, or names a party that the credentials lack.
        """
        known = {hospital.name: hospital for hospital in self._known}
        keys = {client.aggregator.verify_key: client for client in self.aggregators}
        require(
            plan.researcher_key == self.key.verify_key.encode().hex()
            and known.keys() >= {entry.name for entry in plan.hospitals}
            and keys.keys() >= {entry.verify_key for entry in plan.aggregators},
            "A study can be taken up again by the researcher whom its plan names, with an account at "
            "each of its hospitals: use the credentials with which it was made.",
            error=InvalidInput,
        )
        return self._study(
            plan,
            [known[entry.name] for entry in plan.hospitals],
            [keys[entry.verify_key] for entry in plan.aggregators],
            public,
        )


def _check_names(choices: Mapping[str, Any]) -> None:
    """Raise `InvalidPlan` unless these are fields of a plan that are the researcher's to choose."""
    fields = {f.name for f in dataclasses.fields(Plan)} - THEIR_OWN
    lacking = sorted({"recipe", "dp_sgd", "optimizer", "rounds"} - choices.keys())
    unknown = sorted(choices.keys() - fields)
    require(
        not unknown,
        f"A study must be made of what is a researcher's to choose, which is not {', '.join(unknown)[:200]}.",
    )
    require(
        not lacking,
        f"A study must have all that a plan asks for, and lacks {', '.join(lacking)}: take "
        "`**suggested(card.spec).choices()` to begin with; its name alone goes on with one that was submitted.",
    )


def _reach(account: HospitalLogin) -> HospitalClient:
    return HospitalClient(account, must_answer=False)


def _entry(card: AssetCard) -> Hospital:
    return Hospital(
        name=card.hospital,
        verify_key=card.verify_key,
        asset=card.asset,
        asset_version=card.version,
        patients=card.patients,
    )
