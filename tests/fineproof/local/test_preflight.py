"""Each thing that can be missing is told in one sentence with what to do."""

import os
import socket
from pathlib import Path

import pytest

from fineproof.errors import UserError
from fineproof.local import preflight
from fineproof.settings import OFFSETS, Settings, SettingsError
from tests.conftest import free_port


def settings(tmp_path: Path, port: int) -> Settings:
    return Settings(home=tmp_path, port=port, model="smollm2-135m-instruct")


def test_a_taken_port_is_told_with_who_has_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        complaints = list(preflight.taken_ports(settings(tmp_path, port - OFFSETS["trainer"])))
    ours = [complaint for complaint in complaints if f"Port {port} (trainer)" in complaint]
    assert len(ours) == 1
    assert f"(process {os.getpid()})" in ours[0]
    assert "FINEPROOF_PORT" in ours[0]


def test_a_free_port_is_no_complaint(tmp_path: Path) -> None:
    port = free_port()
    told = list(preflight.taken_ports(settings(tmp_path, port)))
    assert not any(f"Port {port} " in complaint for complaint in told)


def test_a_port_that_waits_after_a_close_is_free(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = listener.accept()
            accepted.close()  # our side closes first and keeps the port in TIME_WAIT
    told = list(preflight.taken_ports(settings(tmp_path, port)))
    assert not any(f"Port {port} " in complaint for complaint in told)


def test_too_little_memory_says_how_much_is_needed() -> None:
    (complaint,) = preflight.little_memory(int(3.2 * 2**30))
    assert "3.2 GiB" in complaint
    assert f"{preflight.NEEDED_MEMORY // 2**30} GiB" in complaint
    assert list(preflight.little_memory(preflight.NEEDED_MEMORY)) == []


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_CGROUP", tmp_path)
    free = preflight.available_memory()
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert preflight.available_memory() == 600000
    (tmp_path / "memory.max").write_text("max\n")
    assert preflight.available_memory() > 0.5 * free


def test_a_missing_package_is_told_by_its_plain_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_PACKAGES", {"no_such_package": "vLLM"})
    assert list(preflight.missing_programs()) == ["vLLM is not installed; run `make setup`."]


def test_a_home_below_a_file_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (complaint,) = preflight.unusable_home(tmp_path / "file" / "home")
    assert "FINEPROOF_HOME" in complaint


def test_all_complaints_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_PACKAGES", {"no_such_package": "vLLM"})
    monkeypatch.setattr(preflight, "available_memory", lambda: 0)
    with pytest.raises(UserError) as caught:
        preflight.check(settings(tmp_path, free_port(following=6)))
    assert "vLLM is not installed" in str(caught.value)
    assert "0.0 GiB" in str(caught.value)


@pytest.mark.parametrize("port", ["80", "65535", "http", "-1", "8000.5", "８０００", ""])
def test_a_port_that_cannot_be_is_refused_with_the_range(port: str) -> None:
    with pytest.raises(SettingsError, match="from 1024 to 65529"):
        Settings.from_environment({"FINEPROOF_PORT": port})


def test_home_and_ports_follow_the_environment(tmp_path: Path) -> None:
    told = Settings.from_environment(
        {"FINEPROOF_HOME": str(tmp_path), "FINEPROOF_PORT": "9100", "FINEPROOF_MODEL": "m"}
    )
    assert (told.home, told.model) == (tmp_path, "m")
    assert told.url == "http://127.0.0.1:9100"
    assert {name: told.port_of(name) for name in OFFSETS} == {
        "front-door": 9100,
        "retriever": 9101,
        "generator": 9102,
        "trainer": 9103,
        "evaluator": 9104,
        "vllm": 9105,
        "redis": 9106,
    }
