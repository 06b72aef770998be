"""Read a pickled dict of numpy arrays from an untrusted file. No function that the pickle names is ever called.

The pickle gets a stand-in defined here for each name that it asks for, so its calls reach only this module.
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

# Opcodes that no batch of images needs: sets hash their elements, and nested tuples can take forever to hash.
SETS = ("EMPTY_SET", "ADDITEMS", "FROZENSET")
MAX_RANK, MAX_SIZE = 8, 2**40  # of an array: number of axes, length of each axis


def load_dict(content: bytes, where: str) -> dict[str, Any]:
    """The dict in the pickle `content`: keys are str, strings of Python 2 are bytes, arrays hold integers.

    Args:
      content: a pickle of any protocol, by Python 2 or 3.
      where: the file, for the message of the ValueError that any other content raises.
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
    """The value as str. A string that Python 2 pickled is given as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _Refused(pickle.UnpicklingError):
    """The pickle asks for something that no batch of images needs."""


def _check_opcodes(content: bytes) -> None:
    """Refuse a pickle that is cut off, or that makes the unpickler take too much memory or time for its size."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in SETS:
            raise _Refused("it holds a set, which no batch of images does")
        if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise _Refused(f"it claims {argument:,} objects")


class _Given:
    """The object that a pickle gets for a name. The pickle may call it or pass it on, but not change it."""

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
    """Stand-in for numpy.dtype: an integer type, whose byte order is set afterwards."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: str | bytes, align: object = False, copy: object = False) -> None:
        if not re.fullmatch("[iu][1248]", _text(code)):
            raise _Refused(f"it holds an array of type {_text(code)!r:.40}, not of whole numbers")
        self._code, self._order = _text(code), "="

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1])
        if order not in ("<", ">", "|", "="):
            raise ValueError("an array has no byte order")  # showing its value may take forever
        self._order = order

    def numpy(self) -> np.dtype:
        return np.dtype(self._order + self._code)


class _Array:
    """Stand-in for an array while it is being unpickled."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = np.zeros(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, content = state
        self.value = _array(content, kind, shape, "F" if fortran else "C")


def _array(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if type(content) not in (bytes, bytearray) or type(kind) is not _Type:
        raise _Refused("it holds an array of something other than whole numbers")
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
        raise _Refused("it builds something other than an array")
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
    ("_codecs", "encode"): None,  # replaced by the unpickler's method, which counts
}


class _Unpickler(pickle._Unpickler):
    """The pure Python unpickler, whose steps can be replaced. The C unpickler accepts anything as the key of a dict."""

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
        # A stand-in, not the function itself: a pickle could change the attributes of a function.
        return _Given(self.encode if name == "encode" else _GIVEN[module, name])

    def encode(self, text: object, encoding: object) -> bytes:
        """Encode a text as bytes. Python 3 writes bytes in this way into a pickle for Python 2."""
        if type(text) is not str or encoding not in ("latin1", b"latin1"):
            raise _Refused("it encodes something other than bytes")
        self.encodable -= len(text)
        if self.encodable < 0:
            raise _Refused("it encodes one text again and again")
        return text.encode("latin-1")

    def put(self, items: list[Any]) -> None:
        """Put a list of alternating keys and values into the dict on the stack."""
        if type(self.stack[-1]) is not dict:
            raise _Refused("it sets items of something other than a dict")
        # Nested tuples may take forever to hash, and whole numbers may take forever to compare.
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
