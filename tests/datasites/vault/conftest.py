"""One hospital's vault inside the test's own process, with a cohort and an approved plan."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from datasites.vault.vault import Vault
from syft_code.plans.plan import Plan
from tests.datasites.hospitals import OneHospital, approval


@pytest.fixture
def hospital(tmp_path: Path) -> OneHospital:
    return OneHospital(home=tmp_path / "hospital-1")


@pytest.fixture
def vault(hospital: OneHospital, templates: None) -> Iterator[Vault]:
    started = Vault(hospital.site)
    hospital.publish(started)
    yield started
    started.close()


@pytest.fixture
def agreed(hospital: OneHospital, vault: Vault) -> Plan:
    agreed = hospital.plan()
    hospital.perform(vault, approval(agreed))
    return agreed
