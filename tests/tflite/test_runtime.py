"""The lowest runtime is the release of the newest operator version or weight type."""

from __future__ import annotations

import pytest

from compress.tflite.graph import Graph, Operator
from compress.tflite.runtime import lowest_runtime
from compress.tflite.tensor import Tensor


def graph(*operators: tuple[str, int], weights: str = "int8") -> Graph:
    def tensor(dtype: str) -> Tensor:
        return Tensor("", (1,), dtype, 0, memoryview(b""), (), (), 0, False)

    return Graph(
        (),
        (),
        tuple(Operator(n, (tensor("int8"), tensor(weights)), (), 0, v) for n, v in operators),
    )


@pytest.mark.parametrize(
    ("operators", "weights", "release"),
    [
        ([], "int8", "1.5.0"),
        ([("RESHAPE", 1)], "int8", "1.5.0"),
        ([("CONV_2D", 1)], "float32", "1.5.0"),
        ([("CONV_2D", 3), ("MEAN", 2)], "int8", "1.14.0"),
        # 2.11 is later than 2.9.
        ([("CONV_2D", 6), ("CONV_2D", 7)], "int8", "2.11.0"),
        ([("CONV_2D", 1)], "int4", "2.11.0"),
        ([("CONV_2D", 1)], "int2", None),
        ([("CONV_2D", 99)], "int8", None),
        ([("CONV_2D", 0)], "int8", None),
        ([("CUSTOM", 1)], "int8", None),
    ],
)
def test_the_newest_operator_and_weight_type_determine_the_lowest_runtime(
    operators: list[tuple[str, int]], weights: str, release: str | None
) -> None:
    assert lowest_runtime(graph(*operators, weights=weights)) == release
