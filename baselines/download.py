"""Download one file of known size and SHA-256: resume after an interruption, and check it before others see it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 1 << 16
FRUITLESS_TRIES = 5  # requests in a row without new bytes, once some bytes have arrived


@dataclass(frozen=True)
class Remote:
    """A remote file, and the size and digest that it must have."""

    url: str
    sha256: str
    size_bytes: int


def fetch(
    remote: Remote, target: Path, note: Callable[[str], None], timeout_s: float = 5.0
) -> Path:
    """Download to `target`, which is written completely and with the right content, or not at all.

    The download continues from the part that an earlier call left in `target`.part. `note` receives a sentence when the
    download starts. OSError if the network or the disk fails; ValueError if the content is wrong.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    with _opened_alone(partial) as file:
        if target.exists() and _sha256(target) == remote.sha256:  # another process was first
            partial.unlink()
            return target
        if file.tell() > remote.size_bytes:
            _empty(file)
        resumed = file.tell() > 0
        _complete(remote, file, note, timeout_s)
        if resumed and _sha256(partial) != remote.sha256:
            # The kept part may be damaged: download once more, from the beginning.
            _empty(file)
            _complete(remote, file, note, timeout_s)
        if _sha256(partial) != remote.sha256:
            partial.unlink()
            raise ValueError(
                f"{remote.url} has another SHA-256 than {remote.sha256}; the download was deleted."
            )
        os.fsync(file.fileno())
        partial.replace(target)
    return target


def _opened_alone(partial: Path) -> IO[bytes]:
    """`partial`, opened for appending and locked. A second process waits here for the first.

    In the meantime, the first may give the file its final name. The second then closes that file and opens a new one.
    """
    while True:
        file = partial.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                return file
        file.close()


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _complete(
    remote: Remote, file: IO[bytes], note: Callable[[str], None], timeout_s: float
) -> None:
    """Append to `file` until it has the remote size. After a failure, ask again as long as new bytes arrive."""
    most = start = file.tell()
    fruitless = 0
    with _bar() as bar:
        task = bar.add_task(remote.url.rsplit("/", 1)[-1], total=remote.size_bytes)
        while file.tell() < remote.size_bytes:
            try:
                with _open(remote, file, timeout_s) as response:
                    if most == start:
                        note(f"downloading {remote.url} to {file.name}")
                    while chunk := response.read(min(CHUNK_BYTES, remote.size_bytes - file.tell())):
                        file.write(chunk)
                        bar.update(task, completed=file.tell())
            except (OSError, http.client.HTTPException) as error:
                failure = error
            else:
                failure = ConnectionError("the connection ended early")
            fruitless = 0 if file.tell() > most else fruitless + 1
            most = max(most, file.tell())
            if file.tell() < remote.size_bytes and fruitless > FRUITLESS_TRIES * (most > start):
                reason = getattr(failure, "reason", failure)  # the cause of an error of urllib
                raise OSError(f"{remote.url}: {reason}") from failure
    file.flush()


def _open(remote: Remote, file: IO[bytes], timeout_s: float) -> http.client.HTTPResponse:
    """Request the bytes that `file` lacks. If the server sends the whole file instead, empty `file` first."""
    have = file.tell()
    request = urllib.request.Request(
        remote.url, headers={"Range": f"bytes={have}-"} if have else {}
    )
    response = _urlopen(request, timeout_s)
    whole = response.headers.get("Content-Length")
    if response.status == 206:
        whole = response.headers.get("Content-Range", "").rsplit("/", 1)[-1]
    if whole != str(remote.size_bytes):
        # A captive portal's page, or another version of the file: it must not be appended to the earlier bytes.
        response.close()
        raise ConnectionError(f"the server has {whole} bytes; expected {remote.size_bytes}")
    if response.status != 206:
        _empty(file)
    return response


def _urlopen(request: urllib.request.Request, timeout_s: float) -> http.client.HTTPResponse:
    """`urlopen` with a time limit that also covers a slow name lookup."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urllib.request.urlopen(request, timeout=timeout_s))
        except (OSError, http.client.HTTPException) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=2 * timeout_s)
    except queue.Empty:
        raise TimeoutError(f"no answer in {2 * timeout_s:g} seconds") from None
    if isinstance(answer, urllib.error.HTTPError):
        answer.close()  # the error keeps the connection open
    if isinstance(answer, Exception):
        raise answer
    return answer


def _bar() -> Any:
    """A progress bar on standard error; it shows nothing if that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
