import socket
import threading

from fineproof.local.program import http_obstacle


def test_a_port_that_echoes_is_not_ready() -> None:
    """As a connection does that has met itself."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def echo() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(4096))

        threading.Thread(target=echo, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/health"
        assert http_obstacle(url)() == "no answer yet"
