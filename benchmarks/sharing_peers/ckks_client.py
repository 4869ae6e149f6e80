"""TenSEAL's CKKS: encrypt a vector, and add it to another, with N = 8192 and one thread.

Run by an interpreter that has `tenseal`; see the package's docstring for what it reads and answers.
Encryption is with the public key, in ciphertexts of 4,096 numbers, and includes the bytes to
send; the aggregator's part includes reading them. The moduli are the fewest that leave CKKS its
scale of 2^40.
"""

import json
import sys
import time

import numpy as np
import tenseal

SLOTS = 4096
CONTEXT = tenseal.context(
    tenseal.SCHEME_TYPE.CKKS,
    poly_modulus_degree=2 * SLOTS,
    coeff_mod_bit_sizes=[60, 40, 60],
    n_threads=1,
)
CONTEXT.global_scale = 2**40


def encrypt(update: np.ndarray) -> list[bytes]:
    """A client's upload."""
    parts = (update[start : start + SLOTS] for start in range(0, len(update), SLOTS))
    return [tenseal.ckks_vector(CONTEXT, part).serialize() for part in parts]


def one_round(size: int) -> dict:
    """Time one client, and the aggregator's work for it."""
    update = np.random.default_rng(1).uniform(-1, 1, size)
    start = time.process_time()
    sent = encrypt(update)
    encrypted = time.process_time()
    totals = [tenseal.ckks_vector_from(CONTEXT, one) for one in sent]
    read = time.process_time()
    for total, one in zip(totals, sent, strict=True):
        total.add_(tenseal.ckks_vector_from(CONTEXT, one))
    return {
        "client_s": encrypted - start,
        "aggregator_s": time.process_time() - read,
        "sent_bytes": sum(map(len, sent)),
    }


def check(size: int) -> dict:
    """The largest error of a sum of two."""
    draw = np.random.default_rng(1)
    first, second = draw.uniform(-1, 1, (2, size))
    sums = []
    for one, other in zip(encrypt(first), encrypt(second), strict=True):
        total = tenseal.ckks_vector_from(CONTEXT, one)
        total.add_(tenseal.ckks_vector_from(CONTEXT, other))
        sums += total.decrypt()
    return {"error": float(np.abs(np.array(sums) - first - second).max())}


DO = {"round": one_round, "check": check}

for line in sys.stdin:
    asked = json.loads(line)
    answer = DO[asked.pop("do")](**asked)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
