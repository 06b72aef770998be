"""Limits for the architecture in an untrusted file: depth, build steps, shapes, constants and shared objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compress.model_files.allowlist import LAYERS, MODELS

Config = dict[str, Any]
_LAYERS = {*LAYERS.split(), *MODELS}
# Maximum depth of layers inside models and wrappers. For some of them, each level doubles the time that Keras takes.
MAX_NESTED = 8
# Maximum number of objects that Keras makes and calls, weighted by time. A larger file may have more layers and steps.
MAX_STEPS, STEPS_PER_BYTES = 3800, 2**20
MAX_RANK = 32  # of a shape; layers store and copy shapes
# Suffixes of the names of options that hold a shape or a list of axes.
_SHAPES = ("shape", "axis", "axes", "dims")
_NUMBERS = ("bool", "bfloat16", "float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32",
            "int64", "uint64")  # fmt: skip


def check_extent(config: Config, size_bytes: int) -> None:
    """Raise ValueError if building what `config` describes would take Keras too much time or memory.

    Args:
      config: has passed `allowlist.check`.
      size_bytes: size of the file.
    """
    shared: dict[int, Any] = {}
    for node in _dicts(config):
        for key, value in node.items():
            if key.endswith(_SHAPES) and _rank(value) > MAX_RANK:
                raise ValueError(
                    f"layer {_name_of(node)!r:.60} has a shape of more than {MAX_RANK} axes; leave it out"
                )
        if node.get("class_name") in ("__numpy__", "__tensor__"):
            inner = node.get("config")
            # numpy would accept the data type "U1000000000", with gigabytes per value.
            if not isinstance(inner, dict) or inner.get("dtype") not in _NUMBERS:
                raise ValueError("a constant in it is not a number; save the model again")
        if "shared_object_id" in node:
            number, inner = node["shared_object_id"], node.get("config")
            # Keras uses the first object with that number, so a short entry could refer to an object of any size.
            if type(number) is not int or shared.setdefault(number, inner) != inner:
                raise ValueError(
                    f"layer {_name_of(node)!r:.60} shares its object with a layer that differs; save the model again"
                )
    steps, _ = _steps(config, 0)
    most = MAX_STEPS * (1 + size_bytes // STEPS_PER_BYTES)
    if steps > most:
        raise ValueError(
            f"its architecture takes {steps:,} steps to build, expected at most {most:,} for a file of its size; save "
            "a plainer model: functional instead of Sequential, without models inside it"
        )


def _dicts(config: Config) -> Iterator[Config]:
    waiting: list[Any] = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
        waiting += [
            v
            for v in (node.values() if isinstance(node, dict) else node)
            if isinstance(v, dict | list)
        ]


def _rank(shape: Any) -> int:
    """The number of axes of a shape; for a list of shapes, the number of axes of the longest shape."""
    if not isinstance(shape, list):
        return 0
    return max([_rank(inner) for inner in shape if isinstance(inner, list)], default=len(shape))


def _steps(node: Any, nested: int) -> tuple[int, int]:
    """Upper bounds of the number of steps to build the object that `node` describes, and to call it."""
    is_object = isinstance(node, dict) and "class_name" in node
    name = node["class_name"] if is_object else None
    nested += name in _LAYERS
    if nested > MAX_NESTED:
        raise ValueError(
            f"layer {_name_of(node)!r:.60} lies in {MAX_NESTED} models and wrappers; save a flatter model"
        )
    build = call = 0
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict | list):
            more = _steps(value, nested)
            build, call = build + more[0], call + more[1]
    if name in MODELS:
        layers = _list(node.get("config"), "layers")
        if name == "Sequential":  # Keras rebuilds it with every added layer
            build += call * (len(layers) + 1) // 2
        else:  # Keras goes through all layers again for each late call
            build += 2 * call + len(layers) * _late_calls(layers) // 8
        build *= 1 if nested == 1 else 2
    if name == "Bidirectional":  # copies its layer for each direction
        build, call = 5 * build, 2 * call
    if name in _LAYERS:
        call = max(1, call) * max(1, len(_list(node, "inbound_nodes")))
    return build + 2 * is_object, call


def _late_calls(layers: list[Any]) -> int:
    """The number of calls that take the output of the same layer or of a layer that is listed later.

    Raises:
      ValueError: a call takes only constants, so Keras would compute it during loading.
    """
    place = {_name_of(layer): number for number, layer in enumerate(layers)}
    late = 0
    for number, layer in enumerate(layers):
        for call in _list(layer, "inbound_nodes"):
            sources = list(_sources(call))
            if not sources:
                raise ValueError(
                    f"layer {_name_of(layer)!r:.60} takes no output of a layer; leave it out"
                )
            late += any(place.get(str(source), 0) >= number for source in sources)
    return late


def _sources(call: Any) -> Iterator[str]:
    """The names of the layers whose outputs a call takes."""
    if isinstance(call, list):  # the form of Keras 2: name, call and output of each
        yield from (item[0] for item in call if isinstance(item, list) and len(item) >= 3)
    elif isinstance(call, dict):
        waiting: list[Any] = [call.get("args"), call.get("kwargs")]
        while waiting:
            value = waiting.pop()
            if isinstance(value, list):
                waiting += value
            elif isinstance(value, dict) and "class_name" not in value:
                waiting += value.values()
            elif isinstance(value, dict) and value["class_name"] == "__keras_tensor__":
                yield from _list(value.get("config"), "keras_history")[:1]


def _list(node: Any, key: str) -> list[Any]:
    value = node.get(key) if isinstance(node, dict) else None
    return value if isinstance(value, list) else []


def _name_of(layer: Any) -> str:
    config = layer.get("config") if isinstance(layer, dict) else None
    own = config.get("name") if isinstance(config, dict) else None
    return str(layer.get("name", own) if isinstance(layer, dict) else own)
