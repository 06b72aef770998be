"""Read a pickled dict of numpy arrays from an untrusted file: nothing real is ever called.

What the pickle asks for by name is given as a stand-in made here, so that even its calls reach only this file.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# Python 3 writes one a file name for Python 2. Nests of very many overflow the C stack when they are hashed.
MAX_TUPLES = 20_000


def load_dict(content: bytes, where: str) -> dict[str, Any]:
    """The dict that `content` pickles, its keys as str, its strings of Python 2 as bytes, its arrays of integers.

    Args:
      content: a pickle of any protocol, by Python 2 or 3.
      where: the file, for the sentence of the ValueError that anything else raises.
    """
    try:
        _check_opcodes(content)
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except _Refused as error:
        raise ValueError(f"{where}: refused, nothing in it was run: {error}.") from error
    except (
        pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError, AttributeError,
        EOFError, OverflowError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{where}: not a whole pickled batch ({error or type(error).__name__}); get the file again."
        ) from error
    if type(found) is not dict:
        raise ValueError(f"{where}: holds no dict; a CIFAR-10 batch is one: get the file again.")
    if not all(isinstance(key, str | bytes) for key in found):
        raise ValueError(f"{where}: a key of its dict is no string.")
    return {_text(k): v.value if type(v) is _Array else v for k, v in found.items()}


def _text(value: str | bytes) -> str:
    """A string that may have been pickled by Python 2."""
    return value.decode("latin-1") if isinstance(value, bytes) else value


class _Refused(pickle.UnpicklingError):
    """The pickle wants something that no batch of images needs."""


def _check_opcodes(content: bytes) -> None:
    """Refuse what makes the unpickler itself take memory or stack out of proportion to the file."""
    tuples = 0
    for opcode, argument, _ in pickletools.genops(content):
        tuples += opcode.name.startswith(("TUPLE", "FROZENSET"))
        if opcode.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise _Refused(f"it claims {argument:,} objects")
    if tuples > MAX_TUPLES:
        raise _Refused(f"it holds {tuples:,} tuples")


class _Given:
    """What a pickle gets for a name: something it may call, or pass on, but not change."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., object] | None) -> None:
        self.function = function

    def __call__(self, *arguments: object) -> object:
        if self.function is None:
            raise _Refused("it calls what is no function")
        return self.function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _Refused("it changes what it was given by name")


class _Type:
    """Stands for numpy.dtype: an integer type, its byte order told afterwards."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: str | bytes, align: object = False, copy: object = False) -> None:
        if not re.fullmatch("[iu][1248]", _text(code)):
            raise _Refused(f"it holds an array of type {_text(code)!r}, not of whole numbers")
        self._code, self._order = _text(code), "="

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1])
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"no byte order is called {order!r}")
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
    if type(shape) is not tuple or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("an array has no shape")
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


def _encode(text: object, encoding: object) -> bytes:
    """How Python 3 writes bytes into a pickle for Python 2."""
    if type(text) is not str or encoding not in ("latin1", b"latin1"):
        raise _Refused("it encodes something else than bytes")
    return text.encode("latin-1")


# Official batches use the first three rows; Python 3 and numpy 2 write the others.
_GIVEN: dict[tuple[str, str], Callable[..., object] | None] = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _GIVEN:
            raise _Refused(f"it asks for {module}.{name}, which no batch of images needs")
        # Never the function itself, whose attributes a pickle could change.
        return _Given(_GIVEN[module, name])
