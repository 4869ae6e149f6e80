"""What a key of plain PySyft 0.9.5 is worth to a thief, and what one of ours is.

The rest of `test_pysyft_holes`: keys at rest and on the wire, and keys that follow from a
name. The numbers are those of our list of PySyft's holes.
"""

import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from datasites import private_files, site
from datasites.protocol import owner_actions, vault_api
from syft_code.errors import InvalidMessage, NotApproved
from syft_code.plans import traveller
from syft_code.runtime.quiet_imports import quiet_import
from tests.datasites.hospitals import approval, introduction, publication, signed_action
from tests.hostile.conftest import (
    HTTP,
    Desk,
    OurSite,
    PlainSite,
    joined,
    plain_site_of_its_own,
    refusal,
)
from tests.hostile.plain_site import NAME, ROOT_EMAIL, ROOT_PASSWORD
from tests.hostile.rounds import round_call
from tests.plans import parties, plan, public

with quiet_import():
    from syft.serde.deserialize import _deserialize
    from syft.server.credentials import SyftSigningKey
    from syft.service.response import SyftError, SyftSuccess
    from syft.service.user.user import UserPrivateKey

pytestmark = pytest.mark.timeout(300)

EVERYBODY = 0o077


def log_in(desk: Desk, email: str, password: str) -> Any:
    """What an HTTP login answers."""
    account = {"email": email, "password": password}
    answer = HTTP.post(f"{desk.url}/api/v2/login", json=account)
    return _deserialize(answer.content, from_bytes=True)


def keys_in(database: Path) -> dict[str, SyftSigningKey]:
    """Every account's signing key, read out of a datasite's database."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as opened:
        rows = opened.execute(
            "SELECT json_extract(fields, '$.email'), json_extract(fields, '$.signing_key') "
            "FROM User"
        ).fetchall()
    opened.close()
    return {email: SyftSigningKey.from_string(key) for email, key in rows}


@pytest.mark.slow
def test_s12_a_thief_of_account_keys_owns_everything_there_and_nothing_here(
    plain: PlainSite, ours: OurSite
) -> None:
    told = log_in(plain.desk, ROOT_EMAIL, ROOT_PASSWORD)
    assert isinstance(told, UserPrivateKey)
    (database,) = plain.home.rglob("*_json.db")
    for path in (database, *list(database.parents)[:3]):
        assert path.stat().st_mode & 0o004  # anybody on the machine may read it
    stolen = keys_in(database)[ROOT_EMAIL]
    assert stolen == told.signing_key
    read = plain.desk.call(stolen, "action.get", uid=plain.private_uid)
    assert isinstance(read, SyftSuccess)
    assert isinstance(plain.desk.call(stolen, "user.get_all"), SyftSuccess)

    carol = "carol@example.org"
    told = log_in(ours.desk, carol, joined(ours, carol))  # a front desk still is PySyft
    kept = keys_in(ours.site.desk / "syft.db")
    assert told.signing_key == kept[carol]
    for path in (ours.site.home, ours.site.desk, *ours.site.desk.glob("syft.db*")):
        assert path.stat().st_mode & EVERYBODY == 0
    assert ours.owner_account == kept[site.owner_email("north")]
    assert ours.alice_key == kept["alice@example.org"]
    assert_worthless(ours, [*kept.values(), desk_key(ours)])


def desk_key(ours: OurSite) -> SyftSigningKey:
    return SyftSigningKey(signing_key=private_files.signing_key(ours.site.desk / "key"))


def assert_worthless(ours: OurSite, stolen: list[SyftSigningKey]) -> None:
    """With these PySyft keys nobody reads a patient, approves, spends or runs a round."""
    wanted = plan(ours.keys, study="stolen", hospitals=ours.agreed.hospitals)
    ours.alice.submit(wanted)
    request = ours.request(traveller.function_name(wanted.hash))
    before = ours.owner.ledger_summary("skin-lesions")
    for key in stolen:
        private = ours.desk.call(key, "action.get", uid=ours.asset.action_id)
        assert isinstance(private, SyftError)
        ours.desk.call(key, "request.apply", uid=request.id)
        for action in (
            approval(wanted),
            publication(b"x"),
            introduction(parties(wanted)[0]),
        ):
            body = b"x" if isinstance(action, owner_actions.PublishAsset) else b""
            assert_not_an_owners(ours, action, key.signing_key, body)
        call = round_call(ours, ours.agreed, 3, key=key.signing_key)
        with pytest.raises(InvalidMessage, match="must carry the signature"):
            ours.alice.start_round(ours.agreed, call)
    assert not ours.alice.has_approved(wanted.hash)  # PySyft's approval is no owner's signature
    with pytest.raises(NotApproved, match="No data owner here has approved this plan"):
        ours.alice.start_round(wanted, round_call(ours, wanted, 1))
    assert ours.owner.ledger_summary("skin-lesions") == before


@pytest.mark.slow
def test_s13_the_root_key_follows_from_the_name_there_and_is_nobodys_here(
    ours: OurSite, tmp_path: Path
) -> None:
    def derived(name: str) -> SyftSigningKey:
        seed = hashlib.sha256(name.encode()).digest()
        return SyftSigningKey(signing_key=SigningKey(seed))

    with plain_site_of_its_own(tmp_path / "named", "--dev-mode") as named:
        root = derived(NAME)
        assert str(root.verify_key) == named.desk.metadata()["verify_key"]
        told = named.desk.call(root, "user.get_all")
        assert ROOT_EMAIL in [user.email for user in told.value]
        read = named.desk.call(root, "action.get", uid=named.private_uid)
        assert isinstance(read, SyftSuccess)

    guess = derived(ours.desk.metadata()["name"])
    assert str(guess.verify_key) != ours.desk.metadata()["verify_key"]
    assert guess.verify_key.verify_key.encode().hex() != ours.owner.verify_key
    for path in ("user.get_all", "action.get", "user.get_current_user"):
        told = ours.desk.call(guess, path, uid=ours.asset.action_id)
        assert "to a guest" in refusal(told)
    for account in ("info@openmined.org", "root@north.example.org", ROOT_EMAIL):
        assert isinstance(log_in(ours.desk, account, "changethis"), SyftError)
    assert_not_an_owners(ours, owner_actions.GetLedger(asset="skin-lesions"), guess.signing_key)


def assert_not_an_owners(
    ours: OurSite, action: owner_actions.OwnerAction, key: SigningKey, body: bytes = b""
) -> None:
    """The vault obeys no act by this key, whether it says its own name or the owner's."""
    own = signed_action(action, key)
    with pytest.raises(InvalidMessage, match="signed by somebody who decides"):
        vault_api.ask(ours.site.vault, own, body)
    with pytest.raises(InvalidMessage, match="must carry the signature"):
        vault_api.ask(ours.site.vault, replace(own, signer=public(ours.owner_key)), body)
