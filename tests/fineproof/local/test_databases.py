"""PostgreSQL and Redis as the stack and the other tests start them."""

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import create_engine, text

from fineproof.local import postgres
from fineproof.local.postgres import running_postgres
from fineproof.local.redis import running_redis
from tests.conftest import free_port


def processes_naming(folder: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in word for word in process.info["cmdline"] or ())
    ]


def test_postgres_serves_pgvector_without_a_tcp_listener(tmp_path: Path) -> None:
    with running_postgres(tmp_path / "pg") as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("create extension vector"))
            distance = connection.scalar(text("select '[1,0]'::vector <-> '[0,0]'::vector"))
        engine.dispose()
        servers = processes_naming(tmp_path / "pg")
        assert distance == 1.0
        assert servers
        assert not [c for server in servers for c in server.net_connections("tcp")]
    assert not processes_naming(tmp_path / "pg")
    assert not (tmp_path / "pg" / "data" / "postmaster.pid").exists()


def test_postgres_keeps_its_rows_over_a_restart(tmp_path: Path) -> None:
    for statement in ("create table kept (n int)", "insert into kept values (7)"):
        with running_postgres(tmp_path) as url:
            engine = create_engine(url)
            with engine.begin() as connection:
                connection.execute(text(statement))
            engine.dispose()
    with running_postgres(tmp_path) as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.scalar(text("select n from kept")) == 7
        engine.dispose()


def test_postgres_starts_where_the_folder_is_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 20) / ("er" * 20)
    assert postgres.socket_folder(folder) != folder
    with running_postgres(folder) as url:
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.scalar(text("select current_database()")) == "fineproof"
        engine.dispose()


def test_an_interrupted_initialisation_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "half").write_text("")
    with running_postgres(tmp_path):
        assert not (tmp_path / "data.new").exists()


def test_a_lock_file_naming_another_living_process_does_not_stop_postgres(tmp_path: Path) -> None:
    with running_postgres(tmp_path):
        left = (tmp_path / "data" / "postmaster.pid").read_text()
    recycled = "\n".join(["1", *left.split("\n")[1:]])
    (tmp_path / "data" / "postmaster.pid").write_text(recycled)
    with running_postgres(tmp_path):
        assert postgres.ready(tmp_path)


def test_postgres_starts_again_at_once_after_a_kill(tmp_path: Path) -> None:
    with running_postgres(tmp_path) as url:
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("create table kept as select generate_series(1, 1000) as n"))
        lock = (tmp_path / "data" / "postmaster.pid").read_text()
        os.kill(int(lock.split()[0]), signal.SIGKILL)  # its backend still has our connection
    with running_postgres(tmp_path):
        engine.dispose()
        with engine.connect() as connection:
            assert connection.scalar(text("select count(*) from kept")) == 1000
        engine.dispose()


def test_a_broken_cluster_is_told_with_the_server_s_own_words(tmp_path: Path) -> None:
    with running_postgres(tmp_path):
        pass
    (tmp_path / "data" / "global" / "pg_control").unlink()
    with pytest.raises(RuntimeError, match="pg_control"), running_postgres(tmp_path):
        pass


def test_redis_keeps_what_it_was_told_over_a_restart(tmp_path: Path) -> None:
    port = free_port()
    with running_redis(tmp_path, port) as url:
        client = redis.Redis.from_url(url)
        client.set("kept", "7")
        client.close()
    assert not processes_naming(tmp_path)
    with running_redis(tmp_path, port) as url:
        client = redis.Redis.from_url(url)
        assert client.get("kept") == b"7"
        client.close()


def test_a_taken_port_is_told_with_redis_s_own_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(RuntimeError, match="Address already in use"),
            running_redis(tmp_path, taken.getsockname()[1]),
        ):
            pass
