"""Every hostile file of arrays, images or a TFLite graph is read or refused in a sentence, within bounds of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from fuzz.hostile_data import ARRAYS, IMAGES, arrays, picture
from fuzz.hostile_tflite import ATTACKS, file_of
from fuzz.mutations import worse_archive, worse_bytes
from fuzz.opened import Opening, open_all, rounds


def opened_of(
    folder: Path,
    kind: str,
    good: Path,
    attacks: Mapping[str, Callable[[], bytes]],
    worse: Callable[[bytes, Random], bytes] = worse_bytes,
) -> dict[str, Opening]:
    """The results of opening a valid file, the attacks, and files with random damage."""
    paths = [good]
    for name, made in attacks.items():
        paths.append(folder / (name if "." in name else f"{name}{good.suffix}"))
        paths[-1].write_bytes(made())
    for number in range(rounds(60)):
        paths.append(folder / f"worse {number}{good.suffix}")
        paths[-1].write_bytes(worse(good.read_bytes(), Random(f"{kind} {number}")))
    openings = open_all(folder, kind, paths)
    assert sum(bool(o.said) for o in openings) > len(attacks) / 2 + rounds(60) / 5
    return {o.path.stem: o for o in openings}


def kept(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_hostile_arrays_are_refused_in_a_sentence_within_bounds_of_memory(tmp_path: Path) -> None:
    good = kept(tmp_path, "good.npz", arrays())
    found = opened_of(tmp_path, "npz", good, ARRAYS, worse_archive)
    assert {name for name in ARRAYS if not found[name].said} == set()
    assert "it unpacks to 300,000,166 bytes, expected at most 268,435,456" in found["zeros"].said


def test_hostile_pngs_are_read_or_refused_within_bounds_of_memory(tmp_path: Path) -> None:
    good = kept(tmp_path, "good.png", picture())
    found = opened_of(tmp_path, "image", good, IMAGES)
    assert "too few for an image" in found["a wide blank"].said


def test_damaged_jpegs_are_read_or_refused_within_bounds_of_memory(tmp_path: Path) -> None:
    openings = opened_of(tmp_path, "image", kept(tmp_path, "good.jpg", picture("jpeg")), {})
    assert any(opening.said for opening in openings.values())


def test_hostile_tflite_graphs_are_read_or_refused_within_bounds_of_memory(tmp_path: Path) -> None:
    good = kept(tmp_path, "good.tflite", file_of())
    found = opened_of(tmp_path, "tflite", good, ATTACKS)
    # A shape is read once, however many tensors have it, and this one has too many axes.
    long_shape = "one long shape very often"
    assert "a tensor of shape [1, 1," in found[long_shape].said
    often = [name for name in ATTACKS if "often" in name and name != long_shape]
    assert all("its parts together are longer" in found[name].said for name in often)
