"""A hospital's device: what its owner asks for, tried in a contained process, and said."""

import re
import tempfile
from fnmatch import fnmatch

import pytest

from datasites.sandbox import offers, spec, template
from datasites.site import SiteSettings
from datasites.vault.worker import compute_device
from syft_code.errors import InvalidInput, Unavailable

pytestmark = pytest.mark.servers
NOT_NVIDIA = re.compile("/dev/full")


def test_a_machine_without_a_device_trains_on_the_processor_and_says_why(monkeypatch) -> None:
    monkeypatch.setattr(spec, "_NVIDIA", re.compile("/dev/nothing-of-nvidia"))
    assert compute_device.choose("cpu").device == "cpu"
    chosen = compute_device.choose("auto")
    assert (chosen.device, chosen.reason) == ("cpu", "this machine shows no NVIDIA device")
    with pytest.raises(Unavailable, match='set device = "cpu" or "auto"'):
        compute_device.choose("cuda")


def test_a_device_that_a_contained_process_cannot_use_is_not_used(monkeypatch) -> None:
    monkeypatch.setattr(spec, "_NVIDIA", NOT_NVIDIA)
    chosen = compute_device.choose("auto")
    assert chosen.device == "cpu"
    assert chosen.reason.startswith("the try failed (")
    with pytest.raises(Unavailable, match="and the try failed"):
        compute_device.choose("cuda")


def test_a_device_that_never_answers_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(spec, "_NVIDIA", NOT_NVIDIA)
    monkeypatch.setattr(
        compute_device, "BEGIN", "builtins:input"
    )  # waits for a line that never comes
    monkeypatch.setattr(offers, "SILENCE_S", 5.0)
    chosen = compute_device.choose("auto")
    assert (chosen.device, chosen.reason) == ("cpu", "the try failed (it said nothing for 5 s)")


def test_what_can_not_be_killed_holds_up_nobody(monkeypatch) -> None:
    """A process that is stuck in a driver takes no signal; this one is never sent any."""
    monkeypatch.setattr(template, "_KILL_S", 0.1)
    with tempfile.TemporaryFile() as log:
        stuck = template.Template(compute_device._spec(), log)
        with monkeypatch.context() as patch:
            patch.setattr(stuck.process, "kill", lambda: None)
            stuck.kill()
        stuck.process.kill()
        stuck.process.wait()


def test_only_the_nodes_that_a_computation_needs_are_opened(monkeypatch) -> None:
    needed = ["nvidia0", "nvidia12", "nvidia-uvm", "nvidiactl"]
    others = [
        "nvidia-caps",
        "nvidia-modeset",
        "nvidia-uvm-tools",
        "nvidia-nvswitchctl",
        "nvidia0x",
        "null",
    ]
    there = [f"/dev/{name}" for name in (*others, *needed)]
    monkeypatch.setattr(
        spec.glob, "glob", lambda pattern: [p for p in there if fnmatch(p, pattern)]
    )
    opened = {f"/dev/{name}" for name in needed}
    assert set(spec.nvidia_devices()) == opened
    assert {path for path in spec.cuda_paths() if path.startswith("/dev/")} == opened


@pytest.mark.skipif(not spec.nvidia_devices(), reason="no NVIDIA device on this machine")
def test_a_contained_process_uses_the_cuda_device() -> None:
    assert compute_device.cuda_failure() == ""
    assert compute_device.choose("auto").device == "cuda"


def test_several_processes_do_not_share_a_device() -> None:
    with pytest.raises(InvalidInput, match="training_processes compute on the processor"):
        SiteSettings(name="h", port=1, training_processes=2, device="auto")
