"""A hospital's file: what it must say, in one sentence that names the field."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import launch
from datasites.hospital import hospital_file
from datasites.site import SiteSettings
from syft_code.errors import InvalidInput

GOOD = {
    "name": '"charite"',
    "institution": '"Charité Berlin"',
    "home": '"state"',
    "address": '"consilium.charite.example.org:8443"',
    "port": "8443",
    "kind": '"ham10000"',
    "data": '"data"',
    "asset": '"skin-lesions"',
    "patients": "250",
    "epsilon": "8.0",
    "delta": "1e-5",
}
EXAMPLE = Path(__file__).parents[3] / "deploy" / "hospital.toml"


def written(folder: Path, **changes: str) -> Path:
    """A file with some fields replaced; an empty one is left out."""
    path = folder / "hospital.toml"
    fields = GOOD | changes
    path.write_text("".join(f"{name} = {value}\n" for name, value in fields.items() if value))
    return path


def test_a_good_one_is_read_and_its_paths_begin_beside_it(tmp_path: Path) -> None:
    found = hospital_file.load(written(tmp_path))
    assert found.folder == tmp_path / "state" and found.data == str(tmp_path / "data")
    settings = found.site_settings()
    assert settings.url == "https://consilium.charite.example.org:8443"
    assert settings.local_url == "https://127.0.0.1:8443" and settings.host == "0.0.0.0"  # noqa: S104
    assert found.policy(min_hospitals=3).terms.epsilon == 8.0


def test_the_example_in_deploy_is_one() -> None:
    found = hospital_file.load(EXAMPLE)
    assert found.name == "charite" and found.tls == "own"
    names = set(hospital_file.HospitalConfig.__dataclass_fields__)
    text = EXAMPLE.read_text(encoding="utf-8")
    assert not {name for name in names if f"{name} = " not in text}


def test_behind_a_proxy_it_listens_on_this_machine_alone(tmp_path: Path) -> None:
    settings = hospital_file.load(written(tmp_path, tls='"proxy"')).site_settings()
    assert settings.host == "127.0.0.1" and settings.local_url == "http://127.0.0.1:8443"
    assert settings.url == "https://consilium.charite.example.org:8443"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("name", '"Charité"', "name must be 1 to 40"),
        ("name", "", "name must be there"),
        ("institution", '""', "institution must be the hospital's name"),
        ("address", '"charite"', "address must be host:port"),
        ("address", '"0.0.0.0:8443"', "address must be host:port"),
        ("address", '"https://charite:8443"', "address must be host:port"),
        ("port", "80", "port must be greater than or equal to 1024"),
        ("port", '"x"', "port must be a valid integer"),
        ("tls", '"none"', "only `consilium up` goes without"),
        ("tls", '"old"', "tls must be"),
        ("asset", '""', "asset must be the name"),
        ("patients", "0", "patients must say how many"),
        ("patients", "-4", "patients must be greater than or equal to 0"),
        ("epsilon", "0", "epsilon must be greater than 0"),
        ("epsilon", "nan", "epsilon must be a finite number"),
        ("delta", "0.5", "delta must be less than or equal to"),
        ("kind", '"xrays"', "kind must be"),
        ("min_hospitals", "2", "min_hospitals must be greater than or equal to 3"),
        ("first_user", "0", "first_user must be greater than or equal to 1000"),
        ("metrics", "1", "metrics is no field of a hospital; the fields are name, port"),
        ("name", '"a', "must be TOML"),
    ],
)
def test_a_wrong_one_is_refused_by_its_field(
    tmp_path: Path, field: str, value: str, said: str
) -> None:
    with pytest.raises(InvalidInput) as problem:
        hospital_file.load(written(tmp_path, **{field: value}))
    assert said in str(problem.value), problem.value


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "0.0.0.0"},  # noqa: S104 - which is refused
        {"host": "10.0.0.1", "tls": "proxy", "address": "a:1"},
        {"tls": "own"},
        {"address": "a:1"},
    ],
)
def test_no_front_desk_speaks_plain_http_to_others(wrong: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        SiteSettings(name="north", port=1, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "address", ["north:abc", "north", ":8443", "north:0", "https://north:8443"]
)
def test_a_wrong_address_at_the_command_line_is_one_sentence_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = {
        "name": "north", "institution": "North", "home": "h", "kind": "ham10000", "data": "d",
        "asset": "a", "patients": "4", "address": address,
    }  # fmt: skip
    options = [word for name, value in words.items() for word in (f"--{name}", value)]
    said = CliRunner(mix_stderr=False).invoke(launch.app, ["hospital", "init", *options])
    assert said.exit_code == 2 and "--address must be host:port" in said.stderr, said.stderr
    assert said.stderr.count("\n") == 1 and list(tmp_path.iterdir()) == []
