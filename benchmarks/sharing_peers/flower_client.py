"""Flower's SecAgg+: one client's share of a round, and the server's work for one client.

Run by an interpreter that has `flwr`; see the package's docstring for what it reads and answers.
The functions are Flower's own: `_setup`, `_share_keys` and `_collect_masked_vectors` of its
client (key pairs, Shamir shares, quantisation, one private and n - 1 pairwise masks, arrays from
and to bytes), and of its server what falls to each client (array from bytes, addition, private
mask). Training is not in it, nor is any network.
"""

import importlib
import json
import sys
import time

import numpy as np
from flwr.common import bytes_to_ndarray, ndarrays_to_parameters
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_extract,
    get_parameters_shape,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import dequantize
from flwr.common.secure_aggregation.secaggplus_constants import Key
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

client = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
CLIPPING, TARGET, MODULUS, WEIGHT = 8.0, 2**22, 2**32, 1000  # its defaults


class Timed:
    """CPU seconds of what runs inside `with`, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._start


class Clients:
    """`hospitals` clients that have all sent their public keys and their key shares."""

    def __init__(self, hospitals: int, timed: Timed) -> None:
        self.states = {n: client.SecAggPlusState(nid=n) for n in range(1, hospitals + 1)}
        keys = {}
        for n, state in self.states.items():
            given = {
                Key.SAMPLE_NUMBER: hospitals,
                Key.SHARE_NUMBER: hospitals,
                Key.THRESHOLD: max(2, 2 * hospitals // 3),
                Key.CLIPPING_RANGE: CLIPPING,
                Key.TARGET_RANGE: TARGET,
                Key.MOD_RANGE: MODULUS,
                Key.MAX_WEIGHT: float(WEIGHT),
            }
            sent = self._by(n, timed, client._setup, state, given)
            keys[str(n)] = [sent[Key.PUBLIC_KEY_1], sent[Key.PUBLIC_KEY_2]]
        self.inbox = {n: ([], []) for n in self.states}
        for n, state in self.states.items():
            sent = self._by(n, timed, client._share_keys, state, keys)
            for to, text in zip(sent[Key.DESTINATION_LIST], sent[Key.CIPHERTEXT_LIST], strict=True):
                self.inbox[to][0].append(n)
                self.inbox[to][1].append(text)

    def mask(self, n: int, parameters: object) -> list[bytes]:
        """What client n uploads."""
        sources, texts = self.inbox[n]
        given = {Key.SOURCE_LIST: sources, Key.CIPHERTEXT_LIST: texts}
        sent = client._collect_masked_vectors(self.states[n], given, WEIGHT, parameters)
        return sent[Key.MASKED_PARAMETERS]

    def _by(self, n: int, timed: Timed, step: object, *given: object) -> dict:
        if n > 1:
            return step(*given)
        with timed:
            return step(*given)


def one_round(size: int, hospitals: int) -> dict:
    """Time client 1, and the server's work for it; the others only send their keys."""
    sending, adding = Timed(), Timed()
    clients = Clients(hospitals, sending)
    update = np.random.default_rng(1).uniform(-1, 1, size).astype(np.float32)
    parameters = ndarrays_to_parameters([update])
    with sending:
        masked = clients.mask(1, parameters)
    total = [bytes_to_ndarray(one) for one in masked]
    with adding:
        arrived = [bytes_to_ndarray(one) for one in masked]
        total = parameters_addition(total, arrived)
        mask = pseudo_rand_gen(clients.states[1].rd_seed, MODULUS, get_parameters_shape(total))
        parameters_subtraction(total, mask)
    return {
        "client_s": sending.seconds,
        "aggregator_s": adding.seconds,
        "sent_bytes": sum(map(len, masked)),
    }


def check(size: int, hospitals: int) -> dict:
    """The largest error of the mean of a whole round, with every client's masks."""
    clients = Clients(hospitals, Timed())
    draw = np.random.default_rng(1)
    updates = [draw.uniform(-1, 1, size).astype(np.float32) for _ in clients.states]
    total = None
    for n, update in zip(clients.states, updates, strict=True):
        masked = clients.mask(n, ndarrays_to_parameters([update]))
        arrived = [bytes_to_ndarray(one) for one in masked]
        total = arrived if total is None else parameters_addition(total, arrived)
    for state in clients.states.values():
        mask = pseudo_rand_gen(state.rd_seed, MODULUS, get_parameters_shape(total))
        total = parameters_subtraction(total, mask)
    ratio, sums = factor_extract(parameters_mod(total, MODULUS))
    (mean,) = dequantize(sums, CLIPPING, TARGET)
    mean = (mean - (hospitals - 1) * CLIPPING) * (TARGET / ratio)
    return {"error": float(np.abs(mean - np.mean(updates, axis=0, dtype=np.float64)).max())}


DO = {"round": one_round, "check": check}

for line in sys.stdin:
    asked = json.loads(line)
    answer = DO[asked.pop("do")](**asked)
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
