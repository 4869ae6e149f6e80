"""The filter's own bytes, run as the kernel runs them: what it says to each number and argument."""

import struct
from collections.abc import Mapping

import pytest

from datasites.sandbox import seccomp
from datasites.sandbox.system_calls import NUMBERS

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
FILTERS = {
    "start": seccomp.START,
    "strict": seccomp.strict(0, 1, 2),
    "reader": seccomp.reader(0, 1, 2),
    "cuda": seccomp.cuda(0, 1, 2),
    "start, with CUDA": seccomp.start("cuda"),
}
HIGHEST = 600
NEVER = {
    "socket": 41, "connect": 42, "bind": 49, "execve": 59, "kill": 62, "ptrace": 101,
    "mount": 165, "setrlimit": 160, "chroot": 161, "unlink": 87, "rename": 82, "keyctl": 250,
    "unshare": 272, "perf_event_open": 298, "process_vm_readv": 310, "memfd_create": 319,
    "bpf": 321, "execveat": 322, "io_uring_setup": 425, "pidfd_open": 434, "openat2": 437,
    "pidfd_getfd": 438,
}  # fmt: skip


def verdict(
    program: bytes, number: int, arguments: tuple[int, ...] = (), arch: int = X86_64
) -> int:
    """What the filter answers to one call."""
    values = (*arguments, *(0,) * (6 - len(arguments)))
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, arch, 0, *values)
    lines = list(struct.iter_unpack("<HBBI", program))
    at = held = 0
    while True:
        code, then, otherwise, value = lines[at]
        at += 1
        match code:
            case 0x20:
                held = struct.unpack_from("<I", data, value)[0]
            case 0x15:
                at += then if held == value else otherwise
            case 0x35:
                at += then if held >= value else otherwise
            case 0x54:
                held &= value
            case 0x06:
                return int(value)
            case _:
                raise ValueError(f"an instruction of no filter: {code:#x}")


@pytest.mark.parametrize("name", FILTERS)
def test_another_architecture_is_killed(name: str) -> None:
    program = seccomp.program(FILTERS[name])
    for number in (*range(HIGHEST), 0x4000_0000, -1):
        assert verdict(program, number, arch=I386) == KILL
        assert verdict(program, number, arch=AARCH64) == KILL
        assert verdict(program, 0x4000_0000 | number) == KILL


@pytest.mark.parametrize("name", FILTERS)
def test_what_is_not_named_is_refused(name: str) -> None:
    allowed = FILTERS[name]
    program = seccomp.program(allowed)
    named = {NUMBERS[call] for call in allowed}
    for number in set(range(HIGHEST)) - named - {NUMBERS["clone3"]}:
        assert verdict(program, number) == EPERM
    assert verdict(program, NUMBERS["clone3"]) == ENOSYS
    assert named.isdisjoint(
        set(NEVER.values()) - ({NEVER["kill"]} if name.startswith("start") else set())
    )


@pytest.mark.parametrize("name", FILTERS)
def test_arguments_count_with_all_their_bits(name: str) -> None:
    program = seccomp.program(FILTERS[name])
    for call, at, value in _rules(FILTERS[name]):
        given = (7,) * at
        assert verdict(program, NUMBERS[call], (*given, value)) == ALLOW
        assert verdict(program, NUMBERS[call], (*given, value | 1 << 32)) == EPERM
        assert verdict(program, NUMBERS[call], (*given, 1 << 31 | value)) == EPERM


def _rules(allowed: Mapping[str, seccomp.Rule]) -> list[tuple[str, int, int]]:
    return [
        (call, getattr(rule, "argument", 1), value)
        for call, rule in allowed.items()
        if rule is not None
        for value in rule.values
    ]


@pytest.mark.parametrize(
    ("request_number", "answer"),
    [
        *((number, ALLOW) for number in (0, 77, 127, 0xC020_462A, 0xC0E8_46CF, 0x3000_0001)),
        *((number, EPERM) for number in (128, 0x5412, 0x5413, 0x8933, 0xC020_642A, 0x3000_0003)),
        (1 << 32 | 0xC020_462A, EPERM),
    ],
)
def test_of_ioctl_a_cuda_worker_has_the_drivers_requests_alone(
    request_number: int, answer: int
) -> None:
    program = seccomp.program(seccomp.cuda(0, 1, 2))
    assert verdict(program, NUMBERS["ioctl"], (7, request_number)) == answer
    assert (
        verdict(seccomp.program(seccomp.strict(0)), NUMBERS["ioctl"], (7, request_number)) == EPERM
    )


def test_a_template_may_end_processes_and_send_them_nothing_else() -> None:
    program = seccomp.program(seccomp.START)
    for sent in range(65):
        assert verdict(program, NEVER["kill"], (7, sent)) == (ALLOW if sent == 9 else EPERM)


def test_a_strict_job_names_no_path_and_makes_no_process() -> None:
    assert set(seccomp.strict(0)).isdisjoint({*seccomp.FILES, *seccomp.PROCESSES} - {
        "write", "writev", "sched_getaffinity"
    })  # fmt: skip
    program = seccomp.program(seccomp.strict(0, 2))
    assert verdict(program, NUMBERS["write"], (2,)) == ALLOW
    assert verdict(program, NUMBERS["write"], (1,)) == EPERM
