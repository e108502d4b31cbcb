import socket
from pathlib import Path

import pytest

from tests.conftest import free_port

GIVEN_OUT = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not GIVEN_OUT.exists(), reason="says which ports Linux gives to connections")
def test_a_port_for_a_server_is_none_that_a_connection_may_get() -> None:
    first, last = map(int, GIVEN_OUT.read_text().split())
    ports = [free_port(following) + following for following in (0, 6) for _ in range(20)]
    assert [port for port in ports if first <= port <= last] == []


def test_a_block_of_ports_is_free_to_its_end() -> None:
    first = free_port(following=2)
    servers = [socket.create_server(("127.0.0.1", first + offset)) for offset in range(3)]
    for server in servers:
        server.close()
