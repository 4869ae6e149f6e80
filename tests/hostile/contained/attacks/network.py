"""Sending a byte out, by any socket."""

import contextlib
import ctypes
import signal
import socket
from datetime import timedelta

import torch.distributed

from tests.hostile.contained.attacks.world import World, system_call

_BYTE = b"!"
SENT = (_BYTE, b"\xce\xf7\x85\x3c")
"""What a listener must get: ours, or the first word of torch's store."""
_MPTCP = 262
_FAST_OPEN = 0x2000_0000
_INTERFACE_INDEX = 0x8933


def _sends(kind: int, family: int, address: object, protocol: int = 0) -> bool:
    with socket.socket(family, kind, protocol) as line:
        line.settimeout(1)
        line.connect(address)
        return line.send(_BYTE) == 1


def loopback_http(world: World) -> bool:
    return _sends(socket.SOCK_STREAM, socket.AF_INET, ("127.0.0.1", world.tcp_port))


def loopback_http_ipv6(world: World) -> bool:
    address = ("::ffff:127.0.0.1", world.tcp_port)
    return _sends(socket.SOCK_STREAM, socket.AF_INET6, address)


def multipath_tcp(world: World) -> bool:
    address = ("127.0.0.1", world.tcp_port)
    return _sends(socket.SOCK_STREAM, socket.AF_INET, address, _MPTCP)


def tcp_fast_open(world: World) -> bool:
    """Connects by sending."""
    with socket.socket() as line:
        return line.sendto(_BYTE, _FAST_OPEN, ("127.0.0.1", world.tcp_port)) == 1


def udp_dns(world: World) -> bool:
    return _sends(socket.SOCK_DGRAM, socket.AF_INET, ("127.0.0.1", world.udp_port))


def unix_socket_path(world: World) -> bool:
    return _sends(socket.SOCK_STREAM, socket.AF_UNIX, world.socket_path)


def unix_socket_abstract(world: World) -> bool:
    return _sends(socket.SOCK_STREAM, socket.AF_UNIX, f"\0{world.abstract}")


def unix_socket_bind(world: World) -> bool:
    """A name in the open folder, where others find it."""
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(f"{world.open_folder}/socket")
        line.listen()
    return True


def reuse_of_own_line(world: World) -> bool:
    """Turn the line of the job to another address."""
    with socket.socket(fileno=0) as line:
        for address in (world.socket_path, f"\0{world.abstract}"):
            with contextlib.suppress(OSError):
                return line.sendto(_BYTE, address) == 1
        line.detach()
    return False


def socket_pair(world: World) -> bool:
    ours, theirs = socket.socketpair()
    ours.send(_BYTE)
    return theirs.recv(1) == _BYTE


def listen_tcp(world: World) -> bool:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as line:
        line.settimeout(1)
        line.connect(server.getsockname())
        with server.accept()[0] as other:
            line.send(_BYTE)
            return other.recv(1) == _BYTE


def netlink_enumerate(world: World) -> bool:
    return len(socket.if_nameindex()) > 0


def netlink_audit(world: World) -> bool:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as line:  # kernel's events
        return line.fileno() > 0


def ioctl_enumerate(world: World) -> bool:
    """A socket of any family answers which interfaces the machine has."""
    entry = ctypes.create_string_buffer(b"lo", 40)
    for descriptor in range(16):
        with contextlib.suppress(OSError):
            system_call(16, descriptor, _INTERFACE_INDEX, entry)
            return True
    return False


def raw_packet_socket(world: World) -> bool:
    for family, kind in ((socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_RAW)):
        with contextlib.suppress(OSError), socket.socket(family, kind, 1) as line:
            return line.fileno() > 0
    return False


def vsock_create(world: World) -> bool:
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as line:
        return line.fileno() > 0


def io_uring_socket(world: World) -> bool:
    """Its operations go past a filter of system calls."""
    parameters = ctypes.create_string_buffer(120)
    return system_call(425, 8, parameters) > 0


def torch_rpc_tcpstore(world: World) -> bool:
    """The host sees whether a connection came; nobody answers, which the store would wait for."""
    with contextlib.suppress(OSError):
        signal.setitimer(signal.ITIMER_REAL, 1)
    with contextlib.suppress(Exception):
        torch.distributed.TCPStore(
            "127.0.0.1", world.tcp_port, is_master=False, timeout=timedelta(seconds=1)
        )
    return False
