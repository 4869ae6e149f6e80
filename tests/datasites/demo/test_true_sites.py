"""Five true sites stay five hospitals, whatever a command's usual number is."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasites.data import readers
from datasites.demo import federated_dataset, partitioners, stand_ins
from federation.local import federation_file, provisioning
from federation.local_demo import demo_run
from syft_code.errors import InvalidData

ODD = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "odd_files"
SCHEMA = """
title = "Sites"
kind = "table"
file = "t.csv"
patient = "who"
site = "site"
patient_unit = "patient"
[label]
column = "y"
classes = ["no", "yes"]
[[column]]
name = "age"
kind = "number"
unit = "years"
lowest = 0
highest = 120
"""


def five_sites(folder: Path) -> Path:
    """S0 has most patients, S4 one."""
    folder.mkdir()
    (folder / "schema.toml").write_text(SCHEMA)
    sites = [f"S{n}" for n in range(4) for _ in range(20 - n)] + ["S4"]
    rows = [f"{place},P-{n}x,{n % 90},{'yes' if n % 3 else 'no'}" for n, place in enumerate(sites)]
    (folder / "t.csv").write_text("\n".join(["site,who,age,y", *rows]) + "\n")
    return folder


def sizes(parts) -> list[int]:
    return [int(part.sum()) for part in parts]


def test_an_experiment_keeps_the_site_of_one_patient(tmp_path: Path) -> None:
    data = str(five_sites(tmp_path / "d"))
    for seed in range(12):  # in some the one patient would be held out
        found = federated_dataset.load("table", data=data, split="site", seed=seed, options={})
        assert sizes(found.parts.values()) == [20, 19, 18, 17, 1]
        assert all(found.declared(name) >= 1 for name in found.names)
    with pytest.raises(InvalidData, match="5 here"):
        federated_dataset.load("table", data=data, split="site", seed=0, options={"hospitals": 4})


def test_a_demo_has_a_hospital_for_each_site_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    monkeypatch.setattr(
        provisioning, "require_free_ports", lambda config: looked.append(len(config.hospital))
    )
    reading = readers.read("table", five_sites(tmp_path / "d"))
    said: list[str] = []
    usual = federation_file.default(first_port=20_000, kind="table")
    config = demo_run.fitted(usual, reading, say=said.append)
    assert [one.name for one in config.hospital] == ["s0", "s1", "s2", "s3", "s4"]
    assert [one.port for one in config.hospital] == [20_000 + n for n in range(5)]
    assert config.aggregator == usual.aggregator and not said
    assert looked == [5], "the fifth hospital's port was not looked at"
    parts = partitioners.for_hospitals(reading, ["s4", "s2", "s0", "s1", "s3"])
    assert sizes(parts) == [1, 18, 20, 19, 17], "each by its own name"
    assert sizes(partitioners.split(reading, "site")) == [20, 19, 18, 17, 1]


def test_where_sites_are_mixed_that_is_said(tmp_path: Path) -> None:
    reading = readers.read("table", five_sites(tmp_path / "d"))
    assert "name 5 sites" in partitioners.mixed(reading, 4)
    assert partitioners.mixed(reading, 5) == ""
    some = replace(reading, site=("", *reading.site[1:]))
    assert "name 5 sites, 1 of the patients none;" in partitioners.mixed(some, 5)
    none = replace(reading, site=("",) * len(reading.site))
    assert partitioners.mixed(none, 4) == "" and partitioners.site_names(none) == ()
    two = replace(reading, site=tuple("ab"[n % 2] for n in range(len(reading.site))))
    said: list[str] = []
    usual = federation_file.default(first_port=20_000, kind="table")
    assert demo_run.fitted(usual, two, say=said.append) == usual
    assert "name 2 sites" in said[0]
    alike = replace(reading, site=tuple("A" if s == "S0" else "a" for s in reading.site))
    assert partitioners.site_names(alike) == (), "two sites would have one name"


def test_the_gliomas_stand_in_has_five_institutions(tmp_path: Path) -> None:
    stand_ins.write("lgg", tmp_path / "d", patients=8, seed=0)
    reading = readers.read("lgg", tmp_path / "d", size_px=16, slices_per_patient=2)
    assert set(reading.site) == {"DU", "HT", "CS", "FG", "EZ"}
    assert set(partitioners.site_names(reading)) == set(federation_file.DEFAULT_HOSPITALS["lgg"])
    assert len(federation_file.default(kind="lgg").hospital) == 5
    parts = np.stack(partitioners.for_hospitals(reading, federation_file.DEFAULT_HOSPITALS["lgg"]))
    assert parts.sum(axis=0).tolist() == [1] * 8


@pytest.mark.skipif(not ODD.is_dir(), reason="needs ../shared/data beside the repository")
def test_the_table_of_five_sites_is_five_hospitals() -> None:
    reading = readers.read("table", ODD / "table_five_sites")
    assert Counter(reading.site) == {f"S{n}": 20 for n in range(5)}
    assert partitioners.site_names(reading) == ("s0", "s1", "s2", "s3", "s4")
