"""No pickle runs code, takes forever or fills the memory, whatever it asks for and however it calls it."""

from __future__ import annotations

import pickle
from pathlib import Path
from random import Random

import pytest

from compress.data.safe_pickle import load_dict
from fuzz.hostile_pickles import BOMBS, GADGETS, WAYS, gadgets
from fuzz.mutations import worse_bytes
from fuzz.opened import open_all, rounds
from support.cifar10_copies import TEST, planes, python2_pickle, python3_batch


def whole(folder: Path) -> Path:
    """A valid batch of one image as Python 2 wrote it; `open_all` takes it as the first file."""
    path = folder / "good.pickle"
    path.write_bytes(python2_pickle(planes(TEST[0][:1]), TEST[1][:1]))
    return path


def test_no_gadget_runs_by_any_way_of_calling_it(tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    before, asked = sorted(tmp_path.iterdir()), 0
    for name, content in gadgets(tmp_path / "canary", other):
        with pytest.raises(ValueError, match=r"^x: .*\.$") as caught:
            load_dict(content, "x")
        assert "refused, nothing in it was run: it asks for" in str(caught.value), name
        asked += 1
    assert asked == len(GADGETS) * len(WAYS)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("way", ["REDUCE", "STACK_GLOBAL", "OBJ", "INST"])
def test_the_tested_ways_of_calling_do_run_code_in_pickle(way: str, tmp_path: Path) -> None:
    words = ("touch '{canary}'".format(canary=tmp_path / "canary"),)
    pickle.loads(b"\x80\x02" + WAYS[way]("os", "system", words) + b".")
    assert (tmp_path / "canary").exists()


def test_pickle_bombs_are_read_or_refused_within_bounds_of_time_and_memory(tmp_path: Path) -> None:
    paths = [whole(tmp_path)]
    for name, made in BOMBS.items():
        paths.append(tmp_path / f"{name}.pickle")
        paths[-1].write_bytes(made())
    said = {o.path.stem: o.said for o in open_all(tmp_path, "pickle", paths)}
    for name in BOMBS:
        if "key" in name and "load key" not in name:
            assert "a dict in it has a key that is not a text" in said[name], name
        if "set" in name.split():
            assert "it holds a set" in said[name], name
    assert "it encodes one text again and again" in said["one text encoded often"]


@pytest.mark.parametrize("protocol", [None, 2, 4])
def test_randomly_damaged_pickles_are_read_or_refused_in_a_sentence(
    protocol: int | None, tmp_path: Path
) -> None:
    images, labels = planes(TEST[0][:1]), TEST[1][:1]
    content = (
        python2_pickle(images, labels)
        if protocol is None
        else pickle.dumps(python3_batch(images, labels), protocol)
    )
    # Damage to the pixels would have no effect.
    begin = content.index(images.tobytes()) if protocol != 2 else len(content) // 2
    paths = [whole(tmp_path)]
    for number in range(rounds(200)):
        random = Random(f"{protocol} {number}")
        head, tail = content[: begin + 9], content[begin + 9 :]
        worse = (
            worse_bytes(head, random) + tail
            if number % 2
            else head + worse_bytes(tail[-400:], random)
        )
        paths.append(tmp_path / f"worse {number}.pickle")
        paths[-1].write_bytes(worse)
    openings = open_all(tmp_path, "pickle", paths)
    assert sum(bool(o.said) for o in openings) > rounds(200) / 2
