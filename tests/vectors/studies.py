"""The studies of the known answers, as plain JSON: small ones, and ones with long vectors."""

import hashlib
from typing import Any

from tests.vectors import second

Fields = dict[str, Any]
STATEMENT = {
    "weights_sha256": "12" * 32,
    "epsilon": 0.75,
    "epsilon_alone": 1.25,
    "delta": 1e-5,
    "log_sha256": "ab" * 32,
}
"""What north states of round 1."""
HOSPITALS = {"north": 100, "south": 37, "east": 250, "west": 8}


def secret(label: str) -> bytes:
    """32 bytes that anybody can work out: for known answers only."""
    return hashlib.sha256(f"consilium vectors {label}".encode()).digest()


SIGN_SEEDS = {name: secret(f"sign {name}") for name in (*HOSPITALS, "researcher", "stranger")}
SEAL_KEYS = [secret(f"open {party}") for party in range(1, 6)]


def plan(
    study: str,
    *,
    parties: int,
    sharing: Fields,
    hidden: tuple[int, ...] = (),
    kept: float | None = None,
) -> Fields:
    """A plan with all its fields; `hidden` layers, or the mean of each channel for none."""
    layers: list[Fields] = [{"kind": "global_average"}]
    if hidden:
        layers = [{"kind": "linear", "features": features} for features in hidden]
    return {
        "format": 10,
        "study": study,
        "researcher_key": second.public(SIGN_SEEDS["researcher"]),
        "data": {
            "kind": "ham10000",
            "task": "classification",
            "channels": ["red", "green", "blue"],
            "height_px": 8,
            "width_px": 8,
            "classes": ["benign", "malignant"],
            "patient_unit": "lesion",
            "stand_in": True,
            "facts": [],
            "positive": "",
        },
        "recipe": {
            "model": {"kind": "layers", "layers": layers},
            "loss": {"kind": "cross_entropy", "class_weights": [], "class_priors": []},
        },
        "dp_sgd": {
            "noise_multiplier": 1.0,
            "max_grad_norm": 1.0,
            "sample_rate": 0.1,
            "steps": 1,
            "adaptive": None,
            "engine": "consilium",
            "slices": 1,
        },
        "optimizer": {"learning_rate": 0.1, "momentum": 0.0},
        "rounds": 2,
        "hospitals": [_hospital(name, patients) for name, patients in HOSPITALS.items()],
        "aggregators": [_aggregator(party) for party in range(1, parties + 1)],
        "min_hospitals": 3,
        "evaluation": {"noise_multiplier": 1.0, "after_rounds": [2]},
        "sharing": {"bound": 64.0, "fraction_bits": 18, "needed": None, "ring_bits": 32} | sharing,
        "algorithm": {"kind": "fedavg"},
        "robust": None,
        "max_update_norm": None,
        "compression": None if kept is None else {"kept": kept, "error_feedback": True},
        "frozen_layers": 0,
        "local_norms": False,
        "augmentation": None,
        "continual": None,
        "start_sha256": "",
        "averaging": None,
        "release_schedule": {"train_s": 0.5, "evaluate_s": 1.0, "ticks": 8},
        "shared_noise": None,
        "purpose": None,
    }


def _hospital(name: str, patients: int) -> Fields:
    return {
        "name": name,
        "verify_key": second.public(SIGN_SEEDS[name]),
        "asset": "slices",
        "asset_version": 1,
        "patients": patients,
    }


def _aggregator(party: int) -> Fields:
    return {
        "name": f"agg-{party}",
        "address": "127.0.0.1:1",
        "verify_key": second.public(secret(f"aggregator {party}")),
        "seal_key": second.seal_public(SEAL_KEYS[party - 1]),
        "certificate": "none",
    }


PLANS = {
    "3 of 3": plan("additive", parties=3, sharing={}),
    "2 of 3": plan("threshold", parties=3, sharing={"needed": 2}),
    "3 of 5": plan(
        "narrow", parties=5, sharing={"needed": 3, "ring_bits": 8, "fraction_bits": 4, "bound": 1.9}
    ),
    "2 of 2": plan(
        "wide", parties=2, sharing={"ring_bits": 64, "fraction_bits": 24, "bound": 2.0**20}
    ),
}
PARAMETERS = 193 * 1000 + 1001 * 300 + 301 * 2
STREAMS = {  # parties, needed, ring bits, length: one chunk holds 2^20 bytes
    "an element less than a chunk": (2, 2, 64, 2**17 - 1),
    "one chunk": (2, 2, 64, 2**17),
    "an element more than a chunk": (2, 2, 64, 2**17 + 1),
    "two chunks": (2, 2, 64, 2**18),
    "an element more than two chunks": (2, 2, 64, 2**18 + 1),
    "two seeds and a chunk less the seeds": (4, 3, 32, 2**18 - 3 * 8),
    "seeds and a chunk": (4, 3, 32, 2**18),
}


def stream_plan(label: str) -> Fields:
    """A plan whose vectors have a given length: of a larger network so many coordinates travel."""
    parties, needed, bits, length = STREAMS[label]
    values = length - len(second.encode_weight(0, bits, len(HOSPITALS)))
    return plan(
        "stream",
        parties=parties,
        sharing={"needed": needed, "ring_bits": bits},
        hidden=(1000, 300),
        kept=values / PARAMETERS,
    )


def sharing_of(fields: Fields) -> tuple[int, int, int, int]:
    """Parties, needed, ring bits and fraction bits of a plan."""
    rules, parties = fields["sharing"], len(fields["aggregators"])
    return parties, rules["needed"] or parties, rules["ring_bits"], rules["fraction_bits"]


def header(fields: Fields, *, party: int) -> Fields:
    """The header of north's share of round 1, before it names the sealed bytes."""
    parties, needed, bits, _ = sharing_of(fields)
    values = (3 + 1) * 2
    if fields["compression"]:
        values = round(fields["compression"]["kept"] * PARAMETERS)
    return {
        "plan_hash": second.sha256(second.canonical(fields)),
        "hospital": "north",
        "purpose": "train",
        "round": 1,
        "party": party,
        "parties": parties,
        "needed": needed,
        "length": values + len(second.encode_weight(0, bits, len(HOSPITALS))),
        "ring_bits": bits,
        **STATEMENT,
        "sealed_sha256": "",
    }
