"""A hospital's device: what its owner asks for, tried in a contained process, and said."""

import pytest

from datasites.sandbox import spec
from datasites.site import SiteSettings
from datasites.vault.worker import compute_device
from syft_code.errors import InvalidInput, Unavailable

pytestmark = pytest.mark.servers
NOT_NVIDIA = "/dev/full"


def test_a_machine_without_a_device_trains_on_the_processor_and_says_why(monkeypatch) -> None:
    monkeypatch.setattr(spec, "_NVIDIA", "/dev/nothing-of-nvidia*")
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


@pytest.mark.skipif(not spec.nvidia_devices(), reason="no NVIDIA device on this machine")
def test_a_contained_process_uses_the_cuda_device() -> None:
    assert compute_device.cuda_failure() == ""
    assert compute_device.choose("auto").device == "cuda"


def test_several_processes_do_not_share_a_device() -> None:
    with pytest.raises(InvalidInput, match="training_processes compute on the processor"):
        SiteSettings(name="h", port=1, training_processes=2, device="auto")
