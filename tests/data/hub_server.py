"""A hub of one data set on this machine: the part of the Hugging Face hub's interface that `datasets` asks for."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

SHA = "1" * 40


class _Hub(BaseHTTPRequestHandler):
    """Answers for the files of a folder; `asked` lists the requests with their ranges."""

    protocol_version = "HTTP/1.1"

    def __init__(self, folder: Path, name: str, asked: list[tuple[str, str, int]], *args: object) -> None:
        self.folder, self.repository, self.asked = folder, name, asked
        super().__init__(*args)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        paths = json.loads(body).get("paths", []) if body.startswith(b"{") else []
        self._json([entry for entry in self._entries() if entry["path"] in paths])

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        file = re.fullmatch(rf"/datasets/{self.repository}/resolve/[^/]+/(.*)", path)
        if file:
            self._file(self.folder / file[1])
        elif re.fullmatch(rf"/api/datasets/{self.repository}(/revision/.*)?", path):
            siblings = [{"rfilename": entry["path"]} for entry in self._entries() if entry["type"] == "file"]
            self._json({"id": self.repository, "sha": SHA, "siblings": siblings, "private": False, "gated": False})
        elif tree := re.fullmatch(rf"/api/datasets/{self.repository}/tree/[^/]+/?(.*)", path):
            self._json([entry for entry in self._entries() if entry["path"].startswith(tree[1])])
        else:
            self._send(404, b"{}", {})

    def _entries(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for file in sorted(self.folder.rglob("*")):
            kind = "directory" if file.is_dir() else "file"
            size = 0 if file.is_dir() else file.stat().st_size
            path = file.relative_to(self.folder).as_posix()
            found.append({"type": kind, "path": path, "size": size, "oid": "2" * 40})
        return found

    def _file(self, file: Path) -> None:
        if not file.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = file.read_bytes()
        headers = {"ETag": f'"{"3" * 40}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            self._send(200, content, headers)
            return
        first, last = int(span[1]), min(int(span[2] or len(content) - 1), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._send(206, content[first : last + 1], headers)

    def _json(self, document: object) -> None:
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.asked.append((self.command, self.path, len(content)))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def hub(folder: Path, name: str) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """Serve a folder as the data set `name`; yield the address and the list of what is asked."""
    asked: list[tuple[str, str, int]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, folder, name, asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
