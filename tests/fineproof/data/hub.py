"""A stand-in for Hugging Face's hub, which no test can reach: the files of some data sets, by the
routes that ``datasets`` reads them through. What they hold is written by the tests."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

Repositories = Mapping[tuple[str, str], Mapping[str, bytes]]
"""Files by path, of a data set's id and a branch."""


@contextmanager
def serving(repositories: Repositories) -> Iterator[str]:
    """The address to put into ``HF_ENDPOINT``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(json.loads(body) if body else {})

        def log_message(self, *_: Any) -> None:
            pass

        def _answer(self, asked: Mapping[str, Any] | None = None) -> None:
            status, headers, body = _found(repositories, unquote(urlsplit(self.path).path), asked)
            span = self.headers.get("Range")
            if status == 200 and span is not None:
                first, _, last = span.removeprefix("bytes=").partition("-")
                start, end = int(first), min(int(last or len(body)), len(body) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
                status, body = 206, body[start : end + 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _found(
    repositories: Repositories, path: str, asked: Mapping[str, Any] | None
) -> tuple[int, dict[str, str], bytes]:
    for (name, branch), files in repositories.items():
        commit = _oid(branch.encode())
        api = f"/api/datasets/{name}"
        for revision in (branch, commit):
            content = files.get(path.removeprefix(f"/datasets/{name}/resolve/{revision}/"))
            if content is not None:
                headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": commit}
                return 200, headers | {"Accept-Ranges": "bytes"}, content
            if path == f"{api}/revision/{revision}" or (path == api and branch == "main"):
                siblings = [{"rfilename": each} for each in files]
                return _json({"id": name, "sha": commit, "siblings": siblings})
            if path == f"{api}/paths-info/{revision}" and asked is not None:
                return _json([each for each in _entries(files) if each["path"] in asked["paths"]])
            tree = f"{api}/tree/{revision}"
            if path == tree or path.startswith(f"{tree}/"):
                inside = path.removeprefix(tree).strip("/")
                return _json([each for each in _entries(files) if _is_in(each["path"], inside)])
    return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"


def _is_in(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _entries(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """What the hub tells of each file, and of the folders they are in."""
    folders = {str(above) for path in files for above in PurePosixPath(path).parents} - {"."}
    return [{"type": "directory", "path": each, "oid": _oid(each.encode())} for each in folders] + [
        {"type": "file", "path": path, "oid": _oid(content), "size": len(content)}
        for path, content in files.items()
    ]


def _oid(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


def _json(value: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()
