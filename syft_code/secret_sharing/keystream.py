"""The stream that a seed stands for, made as fast as the processor can, on one thread or more.

    Keystream   seed ─▶ AES-256-CTR over zeros, into buffers that are used again
    in_parts    a range ─▶ one part of it for each thread

Source: NIST SP 800-38A, section 6.5 (counter mode); SP 800-38D, section 7.1 (GCM's counter).
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import (
    AEADEncryptionContext,
    Cipher,
    CipherContext,
    algorithms,
    modes,
)
from numpy.typing import NDArray

from syft_code.errors import SharingError, require

SEED_BYTES = 32
AES_BLOCK_BYTES = 16
BLOCK_BYTES = 512 * 1024
"""Vectors are worked through in blocks that stay in a core's cache."""
Buffer = NDArray[np.unsignedinteger[Any]]
_ZEROS = memoryview(bytes(BLOCK_BYTES))


class Keystream:
    """AES-256-CTR over zeros, written into buffers that are used again.

    From its third block on, the stream of counter 0 is also what AES-256-GCM with a nonce of
    zeros encrypts zeros to (NIST SP 800-38D, section 7.1: its counter starts at 2). OpenSSL
    computes that with the processor's widest instructions, and CTR without: half the time.
    """

    def __init__(self, seed: bytes, start_bytes: int = 0) -> None:
        require(
            len(seed) == SEED_BYTES,
            f"A seed must have {SEED_BYTES} bytes, got {len(seed)}.",
            error=SharingError,
        )
        counter = (start_bytes // AES_BLOCK_BYTES).to_bytes(16, "big")
        self._first = b""
        self._encryptor: AEADEncryptionContext | CipherContext
        self._encryptor = Cipher(algorithms.AES(seed), modes.CTR(counter)).encryptor()
        if start_bytes == 0:
            self._first = self._encryptor.update(bytes(2 * AES_BLOCK_BYTES))
            self._encryptor = Cipher(algorithms.AES(seed), modes.GCM(bytes(12))).encryptor()

    def fill(self, buffer: Buffer) -> Buffer:
        """Overwrite the buffer with the next bytes of the stream, and return it."""
        stream = buffer.data.cast("B")
        if self._first:
            ready = min(len(self._first), len(stream))
            stream[:ready], self._first = self._first[:ready], self._first[ready:]
            stream = stream[ready:]
        self._encryptor.update_into(_ZEROS[: len(stream)], stream)
        return buffer


def in_parts(work: Callable[[int, int], None], length: int, *, step: int, threads: int) -> None:
    """Share a range among threads, cut between blocks.

    The first part is half as large again as the others: only its keystreams start at counter 0.
    """
    require(threads >= 1, f"There must be one thread or more, got {threads}.", error=SharingError)
    if threads == 1:
        work(0, length)
        return
    blocks = -(-length // step)
    ends = [round(blocks * (n + 1.5) / (threads + 0.5)) * step for n in range(threads - 1)]
    cuts = [0, *(min(end, length) for end in ends), length]
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, *both) for both in itertools.pairwise(cuts)]:
            done.result()
