"""A bad line between a host and the bridge: each frame is late, some are lost, and only so many fit.

    host ── c7i (a tap in the host's network) ── this ── c7b (a tap at the bridge) ── everybody else

Where a kernel has no netem: real frames, so that each party's TCP meets what it would meet.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import threading
import time

from tests.journeys import hosts
from tests.journeys.hosts import Host

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME_BYTES = 65_536
QUEUE_S = 0.4
"""A frame that would wait longer for its turn is dropped, as a router does."""


def missing() -> str:
    """Why there can be no such line here; empty if there can."""
    return "" if os.access("/dev/net/tun", os.W_OK) else "there is no /dev/net/tun"


class BadLine:
    """Units: seconds one way, a part of the frames, bits a second."""

    def __init__(self, host: Host, *, delay_s: float, loss: float, bits_per_s: float) -> None:
        self._delay_s, self._loss, self._bits_per_s = delay_s, loss, bits_per_s
        self._random = random.Random(7)
        self._ended = threading.Event()
        self.carried = self.lost = 0
        inside, outside = f"c{host.number}i", f"c{host.number}b"
        hosts.told("ip", "link", "delete", f"c{host.number}o")  # the good one, both its ends
        self._ends = (_tap(inside), _tap(outside))
        hosts.told("ip", "link", "set", outside, "master", hosts.BRIDGE, "up")
        hosts.told("ip", "link", "set", inside, "netns", str(host.init))
        host.told(f"ip addr add {host.ip}/24 dev {inside} && ip link set {inside} up")
        self._thread = threading.Thread(target=self._carry, name="bad line", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take it away."""
        self._ended.set()
        self._thread.join(5)
        for end in self._ends:
            os.close(end)

    def _carry(self) -> None:
        free_at = dict.fromkeys(self._ends, 0.0)
        waiting: list[tuple[float, int, int, bytes]] = []
        other = dict(zip(self._ends, reversed(self._ends), strict=True))
        number = 0
        while not self._ended.is_set():
            now = time.monotonic()
            wait_s = min(max(waiting[0][0] - now, 0.0), 0.2) if waiting else 0.2
            for end in select.select(self._ends, [], [], wait_s)[0]:
                frame, now = os.read(end, FRAME_BYTES), time.monotonic()
                begins = max(now, free_at[end])
                if self._random.random() < self._loss or begins - now > QUEUE_S:
                    self.lost += 1
                    continue
                free_at[end] = begins + 8 * len(frame) / self._bits_per_s
                number += 1
                heapq.heappush(waiting, (free_at[end] + self._delay_s, number, other[end], frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(waiting)
                self.carried += 1
                try:
                    os.write(end, frame)
                except OSError:  # it goes down
                    self.lost += 1


def _tap(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return end
