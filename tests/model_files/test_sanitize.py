"""Keras gets only the complete architecture and the weights of this file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from compress import backend
from compress.keras_models.model import KerasModel
from compress.model_files import sanitize
from compress.model_files.load import load_model
from support.model_files import (
    build,
    edited,
    layer,
    members,
    refused,
    write_members,
)

# Archives


@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "assets/../../evil", "..\\evil", "C:\\evil", "C:/evil", "\\evil"]
)
def test_a_member_that_points_outside_is_refused(name: str, saved: Path) -> None:
    path = write_members(Path("model.keras"), members(saved) | {name: b"evil"})
    assert "points outside the archive" in refused(path)
    assert sorted(p.name for p in Path.cwd().parent.iterdir() if "evil" in p.name) == []


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_an_archive_without_a_required_member_is_refused(member: str, saved: Path) -> None:
    content = members(saved)
    del content[member]
    assert f"0 members {member}; expected one" in refused(write_members(Path("m.keras"), content))


def test_an_archive_with_a_duplicate_member_is_refused(saved: Path) -> None:
    path = write_members(Path("model.keras"), members(saved))
    with (
        zipfile.ZipFile(path, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("config.json", b"{}")
    assert "2 members config.json" in refused(path)


def test_an_archive_that_unpacks_to_too_many_bytes_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = members(saved) | {"assets/bomb": bytes(10_000_000)}
    path = write_members(Path("model.keras"), content, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(sanitize, "MAX_BYTES", 1_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # the check must not unpack anything
    assert "unpacks to 10," in refused(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_compressed_with_bzip2_or_lzma_is_refused(compression: int, saved: Path) -> None:
    path = write_members(Path("model.keras"), members(saved), compression=compression)
    assert "packed in a way that Keras does not use" in refused(path)


def test_an_archive_compressed_with_deflate_loads(saved: Path) -> None:
    path = write_members(Path("m.keras"), members(saved), compression=zipfile.ZIP_DEFLATED)
    assert isinstance(load_model(path), KerasModel)


def test_keras_gets_only_architecture_and_weights_in_safe_mode_unless_trusted(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_members(Path("model.keras"), members(saved) | {"assets/x": b"x", "y": b"y"})
    seen: list[tuple[Path, list[str], dict[str, bool]]] = []
    keras = backend.keras()
    real = keras.saving.load_model

    def spy(given: Path, **options: bool) -> Any:
        seen.append((given, sorted(members(given)), options))
        return real(given, **options)

    monkeypatch.setattr(keras.saving, "load_model", spy)
    load_model(path)
    load_model(path, trust=True)
    (checked, held, told), (itself, _, told_of_trust) = seen
    assert checked != path
    assert held == ["config.json", "model.weights.h5"]
    assert told == {"compile": False, "safe_mode": True}
    assert itself == path
    assert told_of_trust == {"compile": False, "safe_mode": False}


def test_weights_of_another_architecture_are_refused(saved: Path) -> None:
    path = edited(saved, lambda config: layer(config, "conv")["config"].update(filters=5))
    assert "save the model again with Keras" in refused(path)


# HDF5


def external_link(file: h5py.File, other: Path) -> None:
    file["evil"] = h5py.ExternalLink(str(other), "/secret")


def soft_link(file: h5py.File, other: Path) -> None:
    file["a/evil"] = h5py.SoftLink("/elsewhere")


def external_array(file: h5py.File, other: Path) -> None:
    file.create_dataset("evil", (4,), "f4", external=[(str(other), 0, 16)])


def virtual_array(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "secret", shape=(4,))
    file.create_virtual_dataset("evil", layout)


def text_array(file: h5py.File, other: Path) -> None:
    file["a/evil"] = [b"text"]


def reference_array(file: h5py.File, other: Path) -> None:
    file.create_dataset("evil", data=[file.ref], dtype=h5py.ref_dtype)


def endless_array(file: h5py.File, other: Path) -> None:
    file.create_dataset("evil", (2**20, 2**20), "f4", chunks=(16, 16), compression="gzip")


HDF5_ATTACKS = {
    external_link: "'/evil' is a link to elsewhere",
    soft_link: "'a/evil' is a link to elsewhere",
    external_array: "'evil' is read from another file",
    virtual_array: "'evil' is read from another file",
    text_array: "expected numbers",
    reference_array: "expected numbers",
    endless_array: "give a smaller model",
}


def worse(saved: Path, change: Callable[[h5py.File], Any]) -> Path:
    """A copy in the working folder in which `change` edited the HDF5 file or the weights file of the archive."""
    path = Path(saved.name)
    weights = "model.weights.h5"
    inner = saved.read_bytes() if saved.suffix == ".h5" else members(saved)[weights]
    held = io.BytesIO(inner)
    with h5py.File(held, "r+") as file:
        change(file)
    if saved.suffix == ".h5":
        path.write_bytes(held.getvalue())
        return path
    return write_members(path, members(saved) | {weights: held.getvalue()})


@pytest.mark.parametrize("kind", ["saved", "saved_h5"])
@pytest.mark.parametrize("attack", HDF5_ATTACKS)
def test_weights_that_are_not_numbers_stored_in_this_file_are_refused(
    attack: Callable[[h5py.File, Path], None],
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(4.0, dtype="f4")
    path = worse(request.getfixturevalue(kind), lambda file: attack(file, other))
    assert HDF5_ATTACKS[attack] in refused(path)


def test_the_tested_external_link_would_work_in_h5py(saved_h5: Path, tmp_path: Path) -> None:
    # Without the refusal of the tests above, h5py would read the other file.
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(4.0, dtype="f4")
    path = worse(saved_h5, lambda file: external_link(file, other))
    with h5py.File(path) as file:
        assert list(file["evil"]) == [0, 1, 2, 3]


def test_a_file_whose_groups_contain_each_other_loads(saved_h5: Path) -> None:
    path = worse(saved_h5, lambda file: file.__setitem__("model_weights/again", file["/"]))
    assert isinstance(load_model(path), KerasModel)


def test_an_h5_file_with_only_weights_is_refused() -> None:
    build().save_weights("only.weights.h5")
    assert "holds no architecture, only weights" in refused(Path("only.weights.h5"))
