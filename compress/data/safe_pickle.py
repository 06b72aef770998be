"""Read a pickled dict of numpy arrays from an untrusted file: no function is ever called.

Each name that the pickle asks for is answered by a stand-in defined here, so that its calls reach only this file.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

# Opcodes that no batch of images needs: sets hash what is in them, and a nest of tuples can take for ever to hash.
SETS = ("EMPTY_SET", "ADDITEMS", "FROZENSET")
MAX_RANK, MAX_SIZE = 8, 2**40  # of an array: how many axes, and how much along each


def load_dict(content: bytes, where: str) -> dict[str, Any]:
    """The dict that `content` pickles, its keys as str, its strings of Python 2 as bytes, its arrays of integers.

    Args:
      content: a pickle of any protocol, by Python 2 or 3.
      where: the file, for the sentence of the ValueError that anything else raises.
    """
    try:
        _check_opcodes(content)
        unpickled = _Unpickler(content).load()
    except _Refused as error:
        raise ValueError(f"{where}: refused, nothing in it was run: {error}.") from error
    except (
        pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError, AttributeError,
        EOFError, OverflowError, RecursionError, MemoryError, struct.error,
    ) as error:  # fmt: skip
        why = repr(str(error))[1:-1] or type(error).__name__
        raise ValueError(
            f"{where}: not a whole pickled batch ({why:.200}); get the file again."
        ) from error
    if type(unpickled) is not dict:
        raise ValueError(
            f"{where}: holds no dict, expected that of a CIFAR-10 batch: get the file again."
        )
    return {_text(k): v.value if type(v) is _Array else v for k, v in unpickled.items()}


def _text(value: str | bytes) -> str:
    """A string that may have been pickled by Python 2."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _Refused(pickle.UnpicklingError):
    """The pickle wants something that no batch of images needs."""


def _check_opcodes(content: bytes) -> None:
    """Refuse what is cut off, and what makes the unpickler itself take memory or time out of proportion to the file."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in SETS:
            raise _Refused("it holds a set, which no batch of images does")
        if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise _Refused(f"it claims {argument:,} objects")


class _Given:
    """What a pickle gets for a name: something it may call, or pass on, but not change."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., object] | None) -> None:
        self.function = function

    def __call__(self, *arguments: object) -> object:
        if self.function is None:
            raise _Refused("it calls something other than a function")
        return self.function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _Refused("it changes an object that it asked for by name")


class _Type:
    """Stands for numpy.dtype: an integer type, its byte order told afterwards."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: str | bytes, align: object = False, copy: object = False) -> None:
        if not re.fullmatch("[iu][1248]", _text(code)):
            raise _Refused(f"it holds an array of type {_text(code)!r:.40}, not of whole numbers")
        self._code, self._order = _text(code), "="

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1])
        if order not in ("<", ">", "|", "="):
            raise ValueError(
                "an array has no byte order"
            )  # what it has instead may take for ever to show
        self._order = order

    def numpy(self) -> np.dtype:
        return np.dtype(self._order + self._code)


class _Array:
    """Stands for an array while it is being unpickled."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.zeros(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        self.value = _array(content, kind, shape, "F" if fortran else "C")


def _array(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if type(content) not in (bytes, bytearray) or type(kind) is not _Type:
        raise _Refused("it holds an array of something else than whole numbers")
    if type(shape) is not tuple or not all(
        type(n) is int and 0 <= n <= MAX_SIZE for n in shape[:9]
    ):
        raise ValueError("an array has no shape")
    if len(shape) > 8:
        raise ValueError("an array has more than 8 axes")
    if math.prod(shape) * kind.numpy().itemsize != len(content):
        raise ValueError(f"{len(content):,} bytes do not fill an array of shape {list(shape)}")
    return np.frombuffer(content, kind.numpy()).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if type(kind) is not _Given or kind.function is not None:
        raise _Refused("it builds something else than an array")
    return _Array()


def _frombuffer(content: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.value = _array(content, kind, shape, order)
    return array


# Official batches use the first three rows; Python 3 and numpy 2 write the others.
_GIVEN: dict[tuple[str, str], Callable[..., object] | None] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): None,  # given by the unpickler, which counts
}


class _Unpickler(pickle._Unpickler):
    """The unpickler in Python, of which a step can be replaced; that in C takes anything for a key of a dict."""

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, content: bytes) -> None:
        pickle._Unpickler.__init__(self, io.BytesIO(content), encoding="bytes")
        self.encodable = len(content)

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _GIVEN:
            asked = f"{module}.{name}"
            raise _Refused(f"it asks for {asked!r:.80}, which no batch of images needs")
        # Never the function itself, whose attributes a pickle could change.
        return _Given(self.encode if name == "encode" else _GIVEN[module, name])

    def encode(self, text: object, encoding: object) -> bytes:
        """How Python 3 writes bytes into a pickle for Python 2."""
        if type(text) is not str or encoding not in ("latin1", b"latin1"):
            raise _Refused("it encodes something else than bytes")
        self.encodable -= len(text)
        if self.encodable < 0:
            raise _Refused("it encodes one text again and again")
        return text.encode("latin-1")

    def put(self, items: list[Any]) -> None:
        """Put keys, each before its value, into the dict on the stack."""
        if type(self.stack[-1]) is not dict:
            raise _Refused("it sets items of something other than a dict")
        # Nested tuples may take for ever to hash, and whole numbers to compare.
        if not all(type(key) in (str, bytes) for key in items[::2]):
            raise _Refused("a dict in it has a key that is not a text")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.put([key, value])

    def make_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self.put(items)

    dispatch[pickle.SETITEM[0]] = set_item
    dispatch[pickle.SETITEMS[0]] = lambda self: self.put(self.pop_mark())
    dispatch[pickle.DICT[0]] = make_dict
