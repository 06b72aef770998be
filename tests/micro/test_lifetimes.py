"""Activations are alive from the operator that computes them to the last that reads them."""

from __future__ import annotations

import pytest

from compress.micro.lifetimes import peak
from compress.tflite.graph import Graph, Operator
from compress.tflite.tensor import Tensor


def tensor(name: str, size: int, dtype: str = "int8") -> Tensor:
    return Tensor(name, (1, size), dtype, 0, memoryview(b""), (), (), 0, False)


def test_a_shortcut_stays_alive_until_it_is_added() -> None:
    image, a, b, c, out = (tensor(n, s) for n, s in zip("iabco", (8, 4, 6, 4, 4), strict=True))
    graph = Graph(
        (image,),
        (out,),
        (
            Operator("CONV_2D", (image,), (a,), 0),
            Operator("CONV_2D", (a,), (b,), 0),
            Operator("CONV_2D", (b,), (c,), 0),
            Operator("ADD", (a, c), (out,), 0),
        ),
    )
    found = peak(graph)
    assert (found.number, found.size_bytes) == (2, 4 + 6 + 4)
    assert [t.name for t, _ in found.alive] == ["a", "b", "c"]


def test_peak_counts_the_bytes_of_each_number_type() -> None:
    image, out = tensor("i", 3, "float32"), tensor("o", 5, "int16")
    assert peak(Graph((image,), (out,), (Operator("X", (image,), (out,), 0),))).size_bytes == 22


def test_weights_are_not_in_the_arena() -> None:
    image, weights, out = tensor("i", 3), tensor("w", 1000), tensor("o", 2)
    graph = Graph((image,), (out,), (Operator("FULLY_CONNECTED", (image, weights), (out,), 0),))
    assert peak(graph).size_bytes == 5


def test_a_file_without_operators_is_refused() -> None:
    with pytest.raises(ValueError, match="no operators"):
        peak(Graph((), (), ()))
