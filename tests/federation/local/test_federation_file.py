"""A federation's file: each fault with the name of the party whose it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from federation.local import federation_file, provisioning
from syft_code.errors import InvalidInput


def refused(folder: Path, text: str) -> str:
    path = folder / "federation.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput) as error:
        federation_file.load(path)
    return str(error.value)


def test_several_faults_are_told_at_once_each_with_its_partys_name(tmp_path: Path) -> None:
    told = refused(
        tmp_path,
        """
        [[hospital]]
        name = "rosendahl"
        port = 80
        delta = 1e-5
        [[hospital]]
        name = "vienna"
        port = 8102
        epsilon = nan
        delta = 2.0
        kindd = "ham10000"
        [[aggregator]]
        port = "8201"
        """,
    )
    for fault in (
        "hospital rosendahl: port: Input should be greater than or equal to 1024",
        "hospital rosendahl: epsilon: Field required",
        "hospital vienna: epsilon: Input should be a finite number",
        "hospital vienna: delta: Input should be less than",
        "hospital vienna: kindd: Unexpected",
        "aggregator 1: name: Field required",
        "aggregator 1: port: Input should be a valid integer",
    ):
        assert fault in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", "0.0"),
        ("epsilon", "-3.0"),
        ("epsilon", "inf"),
        ("delta", "nan"),
        ("delta", "0.0"),
        ("min_noise_multiplier", "nan"),
        ("min_patients", "-1"),
        ("round_limit_s", "nan"),
        ("round_limit_s", "0.0"),
        ("kind", '"mri"'),
        ("port", "70000"),
    ],
)
def test_a_number_that_is_none_names_the_hospital(tmp_path: Path, field: str, value: str) -> None:
    fields = {"name": '"north"', "port": "8101", "epsilon": "8.0", "delta": "1e-5"}
    lines = "\n".join(f"{key} = {text}" for key, text in (fields | {field: value}).items())
    assert f"hospital north: {field}: " in refused(tmp_path, f"[[hospital]]\n{lines}\n")


@pytest.mark.parametrize("path", ["", "missing.toml"])
def test_what_is_no_file_is_one_sentence(tmp_path: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match="can't be read: ") as error:
        federation_file.load(tmp_path / path)
    assert "Errno" not in str(error.value)


@pytest.mark.parametrize("port", [0, -1, 80, 65_434, 70_000])
def test_the_first_port_leaves_room_for_every_party(port: int) -> None:
    with pytest.raises(InvalidInput, match="--first-port must lie between 1024 and 65433"):
        federation_file.default(first_port=port)
    last = federation_file.default(first_port=65_433)
    assert max(one.port for one in (*last.hospital, *last.aggregator)) == 65_535


def test_an_owner_must_declare_how_many_patients_real_data_have() -> None:
    config = federation_file.default()
    provisioning.require_declared(config)  # stand-ins
    first, *others = config.hospital
    real = replace(config, hospital=(replace(first, data="/data/skin"), *others))
    with pytest.raises(InvalidInput, match="vidir-molemax must declare its training patients"):
        provisioning.require_declared(real)
    said = replace(first, data="/data/skin", patients=250, lacks=("t1",))
    provisioning.require_declared(replace(config, hospital=(said, *others)))
