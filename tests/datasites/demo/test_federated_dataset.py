"""A site that is left out of an experiment is nowhere in it, and nobody else's place changes."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import launch
from datasites.demo import federated_dataset, stand_ins
from datasites.demo.federated_dataset import FederatedDataset
from syft_code.errors import InvalidInput


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    drawn = tmp_path_factory.mktemp("drawn") / "ham10000"
    stand_ins.write("ham10000", drawn, patients=120, seed=0)
    return drawn


def loaded(folder: Path, *, study: str = "ham10000", **options: object) -> FederatedDataset:
    return federated_dataset.load(study, data=str(folder), split="site", seed=3, options=options)


def places(shared: FederatedDataset) -> dict[str, tuple[str, bool]]:
    """Each patient's site, and whether training never sees it."""
    found = zip(shared.reading.patient_ids, shared.reading.site, shared.out, strict=True)
    return {patient: (site, bool(out)) for patient, site, out in found}


def test_nobody_of_the_site_left_out_is_trained_on_or_held_out(folder: Path) -> None:
    whole, rest = loaded(folder), loaded(folder, without="vidir_modern")
    assert len(whole.names) == 4 and len(rest.names) == 3
    left = {patient: place for patient, place in places(whole).items() if "modern" not in place[0]}
    assert places(rest) == left and len(left) < len(places(whole))
    slices = [rest.training(name).patients + rest.held_out(name).patients for name in rest.names]
    assert sum(slices) == len(left)


def test_the_patients_of_the_other_sites_keep_their_own_pictures(folder: Path) -> None:
    whole, rest = loaded(folder), loaded(folder, without="vidir_modern")
    pictures = {
        shared: {
            patient: shared.reading.cohort.images[shared.reading.cohort.patient == number].tobytes()
            for number, patient in enumerate(shared.reading.patient_ids)
        }
        for shared in (whole, rest)
    }
    assert pictures[rest].items() <= pictures[whole].items()


def test_what_is_remarked_on_a_hospitals_share_has_its_name(folder: Path) -> None:
    remarks = loaded(folder).remarks
    names = "hospital-1, hospital-2, hospital-3, hospital-4"
    assert remarks[0].startswith(f"{names}: Each lesion counts as one patient")
    assert any(one.startswith("hospital-4: Fewer than 2 patients are of ") for one in remarks)


def test_a_split_is_told_with_the_remarks_of_each_hospital(folder: Path, tmp_path: Path) -> None:
    words = ("split", "--kind", "ham10000", "--rule", "site", "--data", str(folder))
    told = CliRunner().invoke(launch.app, [*words, "--out", str(tmp_path / "split.svg")])
    assert told.exit_code == 0, told.output
    assert "hospital-4: Fewer than 2 patients are of " in told.output


def test_a_site_that_the_data_do_not_name_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\(rosendahl, .*vienna_dias\), got 'graz'"):
        loaded(folder, without="graz")
    stand_ins.write("brats", tmp_path / "brats", patients=2, seed=0)
    with pytest.raises(InvalidInput, match="it names none"):
        loaded(tmp_path / "brats", study="brats", without="graz")
    with pytest.raises(InvalidInput, match="of its type, got 'without'"):
        loaded(folder, without=True)
