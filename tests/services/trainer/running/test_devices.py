from pathlib import Path

import pytest

from services.trainer.models import Device
from services.trainer.running.attempt import Workshop
from services.trainer.running.devices import describe, installed_gpus, note_devices
from services.trainer.running.scheduling import slots

SMI = """#!/bin/sh
case "$*" in
  *--id=2,3*) echo "NVIDIA H100 80GB HBM3, 81559"; echo "NVIDIA H100 80GB HBM3, 81559" ;;
  *) exit 9 ;;
esac
"""


def test_each_slot_of_a_cpu_is_written_down_once_with_what_it_can_do(workshop: Workshop) -> None:
    for _ in range(2):
        note_devices(workshop)
    with workshop.db.transaction() as session:
        [device] = session.query(Device).all()
    assert [device.id] == slots(workshop.settings)
    assert (device.kind, device.id.rpartition(":")[2]) == ("cpu", "cpu")
    assert device.memory_bytes > 2**30
    assert device.flops is not None
    assert device.flops > 1e8


def test_a_slot_of_two_gpus_has_the_memory_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is a stand-in: there is no GPU here."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text(SMI)
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    device = describe("host:2,3", "2,3")
    assert (device.kind, device.name) == ("cuda", "NVIDIA H100 80GB HBM3")
    assert device.memory_bytes == 2 * 81559 * 2**20
    assert device.flops is None
    assert installed_gpus(["7"]) == []


def test_no_tool_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert installed_gpus(None) == []
