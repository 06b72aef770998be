"""A download is complete and correct, or it fails; it resumes where it was interrupted."""

import fcntl
import hashlib
import http.client
import threading
import urllib.request
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from baselines.download import Remote, fetch
from support.file_server import Served, closed_url, serving

CONTENT = np.random.default_rng(5).bytes(300_000)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def remote(served: Served, content: bytes = CONTENT) -> Remote:
    return Remote(served.url, hashlib.sha256(content).hexdigest(), len(content))


def silent(sentence: str) -> None:
    pass


def test_a_file_is_downloaded_whole(tmp_path):
    notes: list[str] = []
    with serving(Served(CONTENT)) as served:
        target = fetch(remote(served), tmp_path / "cache" / "file", notes.append)
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    assert len(notes) == 1
    assert notes[0].startswith(f"downloading {served.url}")


def test_a_partial_download_is_resumed_after_its_last_byte(tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:100_000])
    with serving(Served(CONTENT)) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT
    assert served.asked == ["bytes=100000-"]


def test_a_complete_part_file_is_used_without_a_request(tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    with serving(Served(CONTENT)) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT
    assert served.asked == []


def test_a_download_resumes_after_a_broken_connection(tmp_path):
    with serving(Served(CONTENT, cut_after=[100_000, 50_000, 0, 0])) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT
    assert served.asked == [
        None,
        "bytes=100000-",
        "bytes=150000-",
        "bytes=150000-",
        "bytes=150000-",
    ]


def test_a_download_resumes_after_any_number_of_breaks_if_each_answer_adds_bytes(tmp_path):
    with serving(Served(CONTENT, cut_after=[10_000] * 20)) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT
    assert len(served.asked) == 21


def test_a_server_without_range_support_sends_the_whole_file_again(tmp_path):
    with serving(Served(CONTENT, ranges=False, cut_after=[100_000])) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT
    assert served.asked == [None, "bytes=100000-"]


def test_repeated_breaks_without_new_bytes_are_an_error_and_the_part_is_kept(tmp_path):
    with (
        serving(Served(CONTENT, cut_after=[100_000, *[0] * 100])) as served,
        pytest.raises(OSError, match=f"{served.url}: the connection ended early"),
    ):
        fetch(remote(served), tmp_path / "file", silent)
    assert [p.name for p in tmp_path.iterdir()] == ["file.part"]
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:100_000]
    assert len(served.asked) < 10


def test_repeated_breaks_at_the_same_byte_are_an_error(tmp_path):
    with (
        serving(Served(CONTENT, ranges=False, cut_after=[1000] * 100)) as served,
        pytest.raises(OSError, match="ended early"),
    ):
        fetch(remote(served), tmp_path / "file", silent)
    assert len(served.asked) < 10


def test_wrong_content_is_refused_and_removed(tmp_path):
    with serving(Served(CONTENT[::-1])) as served:
        wanted = remote(served)
        with pytest.raises(
            ValueError, match=f"{served.url} has another SHA-256 than {wanted.sha256}"
        ):
            fetch(wanted, tmp_path / "file", silent)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_part_file_is_replaced_by_one_complete_download(tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    with serving(Served(CONTENT)) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT
    assert served.asked == ["bytes=1000-", None]


def test_a_part_file_longer_than_the_file_is_not_used(tmp_path):
    (tmp_path / "file.part").write_bytes(b"x" * 400_000)
    with serving(Served(CONTENT)) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT
    assert served.asked == [None]


def test_a_login_page_instead_of_the_file_is_an_error_and_the_part_is_kept(tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:1000])
    with serving(Served(b"<html>Please log in</html>", ranges=False)) as served:
        wanted = remote(served)
        with pytest.raises(OSError, match="the server has 26 bytes; expected 300000"):
            fetch(wanted, tmp_path / "file", silent)
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:1000]


def test_a_server_error_is_reported_and_not_retried(tmp_path):
    with serving(Served(CONTENT, status=404)) as served, pytest.raises(OSError, match="Not Found"):
        fetch(remote(served), tmp_path / "file", silent)
    assert served.asked == [None]
    assert not (tmp_path / "file").exists()


def test_a_refused_connection_is_reported_once(tmp_path):
    url = closed_url()
    notes: list[str] = []
    with pytest.raises(OSError, match=f"{url}: .*refused"):
        fetch(Remote(url, "0" * 64, 10), tmp_path / "file", notes.append)
    assert notes == []


def test_a_name_lookup_that_takes_too_long_is_an_error(tmp_path, monkeypatch):
    answered = threading.Event()

    def slow(*arguments: object, **options: object) -> http.client.HTTPResponse:
        answered.wait(60)
        raise OSError

    monkeypatch.setattr(urllib.request, "urlopen", slow)
    with pytest.raises(OSError, match=r"no answer in 0\.1 seconds"):
        fetch(Remote("http://x/file", "0" * 64, 10), tmp_path / "file", silent, timeout_s=0.05)
    answered.set()


def test_concurrent_requests_for_one_file_download_it_once(tmp_path):
    results: list[Path] = []
    with serving(Served(CONTENT)) as served:
        threads = [
            threading.Thread(
                target=lambda: results.append(fetch(remote(served), tmp_path / "file", silent))
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [tmp_path / "file"] * 4
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert served.asked == [None]


def test_a_file_that_another_process_finished_meanwhile_is_not_downloaded_again(
    tmp_path, monkeypatch
):
    lock, partial = fcntl.flock, tmp_path / "file.part"

    def others_were_quicker(file: IO[bytes], operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        partial.write_bytes(CONTENT)
        partial.replace(tmp_path / "file")
        partial.touch()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", others_were_quicker)
    with serving(Served(CONTENT)) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT
    assert served.asked == []
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_an_existing_damaged_file_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"damaged")
    with serving(Served(CONTENT)) as served:
        assert fetch(remote(served), tmp_path / "file", silent).read_bytes() == CONTENT


def test_no_progress_bar_is_drawn_if_standard_error_is_not_a_terminal(tmp_path, capfd):
    with serving(Served(CONTENT)) as served:
        fetch(remote(served), tmp_path / "file", silent)
    assert capfd.readouterr() == ("", "")


def test_a_progress_bar_is_drawn_if_standard_error_is_a_terminal(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich treat it as a terminal
    monkeypatch.setenv("TERM", "xterm")
    with serving(Served(CONTENT)) as served:
        fetch(remote(served), tmp_path / "file", silent)
    out, err = capfd.readouterr()
    assert out == ""
    assert "file.tar.gz" in err


def test_an_unwritable_cache_folder_is_an_os_error(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cache"):
        fetch(Remote(closed_url(), "0" * 64, 10), tmp_path / "cache" / "file", silent)
