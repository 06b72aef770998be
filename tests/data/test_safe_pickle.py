"""A pickle can build containers, strings, bytes, numbers and arrays of whole numbers, and can call nothing."""

import codecs
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.cifar10.find import load
from compress.data import safe_pickle
from compress.data.safe_pickle import load_dict
from support.cifar10_copies import COUNTS, TEST, planes, python2_pickle, python3_batch, write_python

# Opcodes as in the pickletools module.
PROTO, STOP, DICT, MARK, TUPLE1, REDUCE, BUILD = b"\x80\x02", b".", b"}", b"(", b"\x85", b"R", b"b"
NEWOBJ, NONE, SETITEM, EMPTY_TUPLE, TUPLE2 = b"\x81", b"N", b"s", b")", b"\x86"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = b"cnumpy\nndarray\n"


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def touch(path: Path) -> str:
    return f"touch {path}"


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_a_command_is_refused_and_does_not_run(protocol, tmp_path):
    victim = tmp_path / "owned"
    hostile = pickle.dumps({b"data": Calls(os.system, touch(victim))}, protocol)
    with pytest.raises(ValueError, match=r"^x: refused, nothing in it was run: .*system"):
        load_dict(hostile, "x")
    assert not victim.exists()
    pickle.loads(hostile)
    assert victim.exists(), "the payload must be a real one"


PAYLOADS = {
    "eval": lambda path: pickle.dumps(Calls(eval, f"open({str(path)!r}, 'w')"), 2),
    "exec": lambda path: pickle.dumps(Calls(exec, f"open({str(path)!r}, 'w').close()"), 2),
    "Popen": lambda path: pickle.dumps(Calls(subprocess.Popen, ["touch", str(path)]), 4),
    "open": lambda path: pickle.dumps(Calls(open, str(path), "w"), 2),
    "getattr": lambda path: PROTO + b"cbuiltins\ngetattr\ncos\nsystem\n" + text("__call__") + TUPLE2 + REDUCE + STOP,
    "INST": lambda path: MARK + b"S'" + touch(path).encode() + b"'\nios\nsystem\n" + STOP,
    "OBJ": lambda path: MARK + b"cos\nsystem\n" + text(touch(path)) + b"o" + STOP,
    "NEWOBJ": lambda path: PROTO + b"csubprocess\nPopen\n" + text(touch(path)) + TUPLE1 + NEWOBJ + STOP,
    "NEWOBJ of an array": lambda path: PROTO + NDARRAY + EMPTY_TUPLE + NEWOBJ + STOP,
    "STACK_GLOBAL": lambda path: b"\x80\x04" + text("os") + text("system") + b"\x93"
    + text(touch(path)) + TUPLE1 + REDUCE + STOP,
    "dotted name": lambda path: b"\x80\x04" + text("numpy") + text("ndarray.__class__") + b"\x93" + STOP,
    "numpy.load": lambda path: PROTO + b"cnumpy\nload\n" + text(str(path)) + TUPLE1 + REDUCE + STOP,
    "numpy's own runner": lambda path: PROTO + b"cnumpy.testing._private.utils\nrunstring\n" + STOP,
    "copyreg": lambda path: PROTO + b"ccopyreg\n_reconstructor\n" + STOP,
    "persistent id": lambda path: b"Pos.system\n" + STOP,
    "extension": lambda path: PROTO + b"\x82\x01" + STOP,
    "array of a subclass": lambda path: PROTO + RECONSTRUCT + RECONSTRUCT + TUPLE1 + REDUCE + STOP,
    "ndarray called": lambda path: PROTO + NDARRAY + EMPTY_TUPLE + REDUCE + STOP,
}  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_other_way_to_run_code_is_refused(payload, tmp_path):
    victim = tmp_path / "owned"
    with pytest.raises(ValueError, match=r"^some file: "):
        load_dict(PAYLOADS[payload](victim), "some file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "state", [DICT, NONE + DICT + text("function") + b"K\x01" + SETITEM + TUPLE2]
)
@pytest.mark.parametrize("name", [RECONSTRUCT, NDARRAY, b"c_codecs\nencode\n"])
def test_a_pickle_cannot_change_an_object_that_it_gets_by_name(name, state, tmp_path):
    before = dict(vars(safe_pickle))
    with pytest.raises(ValueError, match="changes an object that it asked for by name"):
        load_dict(PROTO + name + state + BUILD + STOP, "x")
    load_dict(python2_pickle(planes(TEST[0]), TEST[1]), "x")
    assert dict(vars(safe_pickle)) == before


def test_reading_a_pickle_imports_no_module(tmp_path):
    (tmp_path / "hostile_module.py").write_text(
        f"open({str(tmp_path / 'owned')!r}, 'w')\nevil = print\n"
    )
    code = (
        "from compress.data.safe_pickle import load_dict\n"
        "try: load_dict(b'chostile_module\\nevil\\n.', 'x')\n"
        "except ValueError as error: print(error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "refused" in out.stdout
    assert not (tmp_path / "owned").exists()


def test_a_hostile_batch_in_a_complete_copy_is_refused_and_named(tmp_path):
    folder = write_python(tmp_path / "copy")
    batch = {
        **python3_batch(planes(TEST[0]), TEST[1]),
        b"x": Calls(os.system, touch(tmp_path / "owned")),
    }
    (folder / "data_batch_5").write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(ValueError, match=r"copy/data_batch_5: refused, nothing in it was run"):
        load(folder, pytest.fail, COUNTS)
    assert not (tmp_path / "owned").exists()


def test_arrays_of_other_types_than_whole_numbers_are_refused():
    for array in (np.zeros(3), np.array([None, 1]), np.array(["x"]), np.zeros(2, "i4,f4")):
        with pytest.raises(ValueError, match=r"^x: "):
            load_dict(pickle.dumps({b"data": array}, 4), "x")


def test_a_pickle_may_encode_only_bytes():
    for arguments in (("x", "rot13"), ("x", "utf-8"), (b"x", "latin1"), ("x",)):
        with pytest.raises(ValueError, match=r"^x: "):
            load_dict(pickle.dumps({"a": Calls(codecs.encode, *arguments)}, 2), "x")
    assert load_dict(pickle.dumps({"a": b"\xff"}, 2), "x") == {"a": b"\xff"}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["<i8", ">i4", "u1", "i2", "<u4"])
def test_arrays_of_whole_numbers_are_read_unchanged(kind, protocol):
    array = np.arange(24).astype(kind).reshape(2, 3, 4)
    for each in (array, np.asfortranarray(array), array[:, ::2]):
        found = load_dict(pickle.dumps({"a": each}, protocol), "x")["a"]
        np.testing.assert_array_equal(found, each)
        assert found.dtype == each.dtype


@pytest.mark.parametrize("protocol", range(6))
def test_containers_strings_bytes_and_numbers_are_read_unchanged(protocol):
    value = {
        "a": [1, -2, 2**70, 1.5, True, None],
        "b": ("x", {"y": b"\xff\x00"}),
        "c": [[], {}, ()],
    }
    assert load_dict(pickle.dumps(value, protocol), "x") == value


def test_strings_of_python_2_come_back_as_bytes_and_keys_as_text():
    found = load_dict(python2_pickle(planes(TEST[0]), TEST[1]), "x")
    assert found["batch_label"] == b"training batch 1 of 5"
    assert found["labels"] == TEST[1].tolist()
    np.testing.assert_array_equal(found["data"], planes(TEST[0]))


def test_the_python_2_pickle_of_these_tests_is_readable_by_pickle():
    found = pickle.loads(python2_pickle(planes(TEST[0]), TEST[1]), encoding="bytes")
    np.testing.assert_array_equal(found[b"data"], planes(TEST[0]))


def test_deeply_nested_tuples_that_would_overflow_the_stack_are_refused():
    nest = EMPTY_TUPLE + TUPLE1 * 1_000_000
    with pytest.raises(
        ValueError, match="nothing in it was run: a dict in it has a key that is not a text"
    ):
        load_dict(PROTO + DICT + nest + b"K\x01" + SETITEM + STOP, "x")


@pytest.mark.parametrize("put", [b"r" + (2**31).to_bytes(4, "little"), b"p2147483648\n"])
def test_a_small_pickle_that_claims_a_huge_memo_is_refused(put):
    with pytest.raises(
        ValueError, match=r"refused, nothing in it was run: it claims 2,147,483,648"
    ):
        load_dict(PROTO + DICT + put + STOP, "x")


@pytest.mark.parametrize("cut", [0, 1, 2, 30, 60, 200, -2, -1])
def test_a_truncated_pickle_is_refused(cut):
    with pytest.raises(
        ValueError, match=r"^x: not a whole pickled batch \(.+\); get the file again"
    ):
        load_dict(python2_pickle(planes(TEST[0]), TEST[1])[:cut], "x")


@pytest.mark.parametrize("value", [[1], 3, None, "text", np.zeros(2, np.uint8)])
def test_a_pickle_that_holds_no_dict_is_refused(value):
    with pytest.raises(ValueError, match=r"^x: holds no dict, expected that of a CIFAR-10 batch"):
        load_dict(pickle.dumps(value), "x")


def test_a_dict_with_keys_that_are_not_strings_is_refused():
    with pytest.raises(
        ValueError, match="nothing in it was run: a dict in it has a key that is not a text"
    ):
        load_dict(pickle.dumps({1: 2}), "x")
