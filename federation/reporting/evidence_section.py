"""The report's last section: what in it can be checked, and against what."""

from federation.certificate import verification
from federation.certificate.verification import Certificate
from federation.reporting.html_elements import Html, bullets, element, section, table
from federation.researcher.outcome import Outcome, RoundRecord


def section_of(outcome: Outcome, certificate: Certificate) -> Html:
    """Whether the certificate holds, then hashes, keys, rounds and where each audit log stood."""
    wrong = verification.check(certificate)
    verdict = (
        "The certificate was checked as this report was written: everything in it that follows "
        "from the plan was worked out anew, and holds. So do the hospitals' signatures over the "
        "heads of their audit logs."
    )
    keys = [[h["name"], element("code", h["verify_key"])] for h in certificate["hospitals"]]
    keys += [[a["name"], element("code", a["verify_key"])] for a in certificate["aggregators"]]
    hashes = {
        "Plan": certificate["plan_hash"],
        "Code that ran": certificate["code_sha256"],
        "Model's weights": certificate["model"]["weights_sha256"],
        "Model's file": certificate["model"]["file_sha256"],
    }
    return section(
        "Evidence",
        element("div", verdict, of="note")
        if not wrong
        else element("div", "The certificate does not hold: ", bullets(wrong), of="note wrong"),
        table(["SHA-256 of", ""], [[name, element("code", one)] for name, one in hashes.items()]),
        table(["Key (Ed25519) of", ""], keys),
        table(
            ["Round", "Hospitals", "Took no part", "Seconds", "Bytes carried"],
            [_round(record) for record in outcome.rounds],
            numbers=2,
        ),
        *_anchors(certificate),
        element("footer", "The certificate beside this report holds all of it as JSON."),
    )


def _round(record: RoundRecord) -> list[str]:
    who = ", ".join(sorted(record.trained))
    carried = f"{record.upload_bytes:,}"
    return [str(record.round), who, str(record.absent), f"{record.seconds:.1f}", carried]


def _anchors(certificate: Certificate) -> list[Html]:
    """Where each hospital's audit log stood, by hash; it can be held against the log itself."""
    rows = [
        [
            own["name"],
            element("code", own["log_anchor"]["sha256"]),
        ]
        for own in certificate["hospitals"]
        if "log_anchor" in own
    ]
    return [table(["Audit log of", "SHA-256 of its last entry"], rows)] if rows else []
