"""A local file server for download tests: it sends files completely, breaks off, or refuses."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """The content that the server at `url` sends, and the requests that it received."""

    content: bytes
    ranges: bool = True  # whether it supports Range requests
    cut_after: list[int] = field(
        default_factory=list
    )  # number of bytes after which each of the next answers breaks off
    status: int = 200
    url: str = ""
    asked: list[str | None] = field(default_factory=list)  # the Range header of each request


@contextlib.contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve on 127.0.0.1 while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            served.asked.append(wanted)
            if served.status != 200:
                self.send_error(served.status)
                return
            start = (
                int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and served.ranges else 0
            )
            size = len(served.content)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            self.send_header("Content-Length", str(size - start))
            self.end_headers()
            end = start + served.cut_after.pop(0) if served.cut_after else size
            self.wfile.write(served.content[start:end])

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        served.url = f"http://127.0.0.1:{server.server_port}/file.tar.gz"
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def closed_url() -> str:
    """An address on this machine on which no server listens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}/file.tar.gz"
