"""CIFAR-10 is searched for in a fixed order of places, and notes say which data is used."""

import hashlib
from pathlib import Path

import pytest

from baselines.cifar10 import find
from baselines.cifar10.find import load
from baselines.cifar10.task import Cifar10
from baselines.download import Remote
from compress.data.dataset import Dataset
from compress.runs.options import RunOptions
from support.cifar10_copies import COUNTS, arrays, write_archive, write_binary, write_python
from support.file_server import Served, closed_url, serving

NOWHERE = Remote("http://127.0.0.1:9/never-asked", "0" * 64, 1)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """An empty home folder, offline."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("COMPRESS_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "*")
    for name in ("CIFAR10_DIR", "KERAS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


def search(path: Path | None = None, archive: Remote = NOWHERE) -> tuple[Dataset, list[str]]:
    notes: list[str] = []
    return load(path, notes.append, COUNTS, archive), notes


def other_copy(folder: Path) -> Path:
    """A copy whose images differ from those of every other folder of this name."""
    seed = int.from_bytes(hashlib.sha256(folder.name.encode()).digest()[:4], "big")
    return write_binary(folder, train=arrays(COUNTS.train, seed))


def served_archive(tmp_path: Path) -> bytes:
    folder = write_python(tmp_path / "cifar-10-batches-py")
    return write_archive(tmp_path / "served.tar.gz", folder).read_bytes()


def remote(served: Served) -> Remote:
    return Remote(served.url, hashlib.sha256(served.content).hexdigest(), len(served.content))


def test_a_given_path_comes_before_the_environment_variable(tmp_path, monkeypatch):
    named, environment = other_copy(tmp_path / "named"), other_copy(tmp_path / "environment")
    monkeypatch.setenv("CIFAR10_DIR", str(environment))
    by_environment, _ = search()
    by_path, notes = search(named)
    assert by_path.train.digest != by_environment.train.digest
    monkeypatch.delenv("CIFAR10_DIR")
    assert search(environment)[0].train.digest == by_environment.train.digest
    assert notes == []


def test_the_environment_variable_comes_before_the_keras_folder(tmp_path, home, monkeypatch):
    other_copy(home / ".keras" / "datasets" / "cifar-10-batches-py")
    by_keras, _ = search()
    environment = other_copy(tmp_path / "environment")
    monkeypatch.setenv("CIFAR10_DIR", str(environment))
    by_environment, notes = search()
    assert by_environment.train.digest == search(environment)[0].train.digest
    assert by_environment.train.digest != by_keras.train.digest
    assert notes == []


@pytest.mark.parametrize("variable", ["path", "CIFAR10_DIR"])
def test_missing_named_data_is_an_error_and_not_replaced_by_the_sample(
    variable, tmp_path, monkeypatch
):
    missing = tmp_path / "missing"
    monkeypatch.setenv("CIFAR10_DIR", str(missing))
    with pytest.raises((FileNotFoundError, ValueError), match=str(missing)) as raised:
        search(missing if variable == "path" else None)
    assert ("CIFAR10_DIR names it" in str(raised.value)) == (variable == "CIFAR10_DIR")


@pytest.mark.parametrize("variable", ["path", "CIFAR10_DIR"])
def test_damaged_named_data_is_an_error_and_not_replaced_by_the_sample(
    variable, tmp_path, monkeypatch
):
    folder = write_binary(tmp_path / "copy")
    (folder / "data_batch_1.bin").write_bytes(b"")
    monkeypatch.setenv("CIFAR10_DIR", str(folder))
    with pytest.raises(ValueError, match=r"data_batch_1\.bin: 0 bytes"):
        search(folder if variable == "path" else None)


KERAS_NAMES = (
    "cifar-10-batches-py-target/cifar-10-batches-py",
    "cifar-10-batches-py",
    "cifar-10-batches-py-target_archive",
    "cifar-10-batches-py.tar.gz",
    "cifar-10-python.tar.gz",
)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("name", KERAS_NAMES)
def test_data_downloaded_by_keras_is_found(name, elsewhere, tmp_path, home, monkeypatch):
    keras = tmp_path / "elsewhere" if elsewhere else home / ".keras"
    if elsewhere:
        monkeypatch.setenv("KERAS_HOME", str(keras))
    place = keras / "datasets" / name
    if name.endswith("py"):
        write_python(place)
    else:
        write_archive(place, write_python(tmp_path / "cifar-10-batches-py"))
    found, notes = search()
    assert found.name == "cifar10"
    assert len(notes) == 1
    assert notes[0].startswith(f"reading CIFAR-10 from {place}.")


def test_damaged_data_that_was_not_named_is_skipped_with_a_note(home):
    place = write_python(home / ".keras" / "datasets" / "cifar-10-batches-py")
    (place / "data_batch_3").unlink()
    found, notes = search()
    assert found.name == "cifar10-sample"
    assert len(notes) == 1
    assert f"{place / 'data_batch_3'} is missing" in notes[0]


def test_the_sample_is_used_offline_with_a_note_of_one_line():
    found, notes = search()
    assert found.name == "cifar10-sample"
    assert (len(found.train), len(found.validation), len(found.open_test())) == (3400, 600, 1000)
    assert len(notes) == 1
    assert "\n" not in notes[0]
    assert "bundled sample of CIFAR-10 (4,000 training and 1,000 test images)" in notes[0]
    assert "COMPRESS_OFFLINE" in notes[0]
    assert "--data" in notes[0]


def test_the_archive_is_downloaded_once_and_then_found(tmp_path, home, monkeypatch):
    monkeypatch.setenv("COMPRESS_OFFLINE", "0")
    with serving(Served(served_archive(tmp_path))) as served:
        first, notes = search(archive=remote(served))
        again, _ = search(archive=remote(served))
    place = home / ".cache" / "compress" / "cifar-10-python.tar.gz"
    assert place.is_file()
    assert first.name == again.name == "cifar10"
    assert first.train.digest == again.train.digest
    assert len(served.asked) == 1
    assert notes[0].startswith(f"downloading {served.url}")
    assert str(place) in notes[1]


def test_the_cache_folder_follows_xdg_cache_home_and_works_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "cache" / "compress" / "cifar-10-python.tar.gz"
    write_archive(place, write_python(tmp_path / "cifar-10-batches-py"))
    assert search()[0].name == "cifar10"


def test_a_relative_xdg_cache_home_is_ignored(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.chdir(tmp_path)
    write_archive(
        tmp_path / "cache" / "compress" / "cifar-10-python.tar.gz",
        write_python(tmp_path / "cifar-10-batches-py"),
    )
    assert search()[0].name == "cifar10-sample"


def test_a_damaged_cache_is_replaced(tmp_path, home, monkeypatch):
    place = home / ".cache" / "compress" / "cifar-10-python.tar.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"\x1f\x8bdamaged")
    monkeypatch.setenv("COMPRESS_OFFLINE", "")
    with serving(Served(served_archive(tmp_path))) as served:
        assert search(archive=remote(served))[0].name == "cifar10"
    assert place.read_bytes() == served.content


def test_the_sample_of_a_failed_download_is_not_indexed(tmp_path, home, monkeypatch):
    place = home / ".cache" / "compress" / "cifar-10-python.tar.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"\x1f\x8bdamaged")
    task, out = Cifar10(), tmp_path / "runs"
    options = RunOptions(task=task, out=out)
    monkeypatch.setattr(Cifar10, "load", lambda self, path, note: search(path)[0])

    def indexed() -> str | None:
        assert options.load(lambda _: None).name == "cifar10-sample"
        key = options.data_key()
        known = options.index.data(key) if key else None
        return known and known.digests.name

    monkeypatch.setattr(find, "fetch", unreachable)
    monkeypatch.setenv("COMPRESS_OFFLINE", "1")
    assert indexed() == "cifar10-sample"
    monkeypatch.delenv("COMPRESS_OFFLINE")
    assert indexed() is None
    place.unlink()
    write_archive(place, write_python(tmp_path / "cifar-10-batches-py"))
    assert options.load(lambda _: None).name == "cifar10"
    assert options.index.data(options.data_key() or "").digests.name == "cifar10"


def unreachable(*_: object) -> Path:
    raise OSError("the network is unreachable.")


def test_a_user_without_a_home_folder_gets_the_sample(monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.delenv("COMPRESS_OFFLINE")
    found, notes = search()
    assert found.name == "cifar10-sample"
    assert len(notes) == 1


def test_an_unreadable_keras_folder_is_skipped(home, monkeypatch):
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    found, notes = search()
    assert found.name == "cifar10-sample"
    assert "Permission denied" in notes[0]


def test_the_sample_is_used_if_the_server_does_not_answer(monkeypatch):
    monkeypatch.delenv("COMPRESS_OFFLINE")
    url = closed_url()
    found, notes = search(archive=Remote(url, "0" * 64, 10))
    assert found.name == "cifar10-sample"
    assert len(notes) == 1
    assert url in notes[0]
    assert "refused" in notes[0]


def test_a_download_with_the_wrong_hash_is_discarded(tmp_path, home, monkeypatch):
    monkeypatch.delenv("COMPRESS_OFFLINE")
    with serving(Served(served_archive(tmp_path))) as served:
        found, notes = search(archive=Remote(served.url, "0" * 64, len(served.content)))
    assert found.name == "cifar10-sample"
    assert "another SHA-256" in notes[-1]
    assert list((home / ".cache" / "compress").iterdir()) == []
