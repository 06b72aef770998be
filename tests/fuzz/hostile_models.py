"""Model files made to hang a reader, to fill its memory, or to mislead it; each under a megabyte."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from support.architectures import (
    Config,
    functional,
    good,
    h5_file,
    image,
    keras_file,
    obj,
    relus,
    sequential,
    tensor,
    weights,
    without_modules,
)

HUGE = 100_000_000


def nested(depth: int, around: Callable[[Config, int], Config], inside: Config) -> Config:
    for level in range(depth):
        inside = around(inside, level)
    return inside


def distributed(layer: Config, level: int) -> Config:
    wrapper = obj("TimeDistributed", name=f"over{level}", layer=layer)
    return sequential(wrapper, name=f"inside{level}")


def both_ways(layer: Config, level: int) -> Config:
    back = obj("LSTM", name=f"back{level}", units=1, go_backwards=True, return_sequences=True)
    return obj("Bidirectional", name=f"both{level}", layer=layer, backward_layer=back)


def constant(shape: tuple[int, ...]) -> Config:
    return {
        "class_name": "__tensor__",
        "config": {"value": np.ones(shape).tolist(), "dtype": "float32"},
    }


def on_constants(layer: Config, **more: Any) -> Config:
    """A model in which a layer is called on a constant; Keras evaluates such a call when it builds the model."""
    calls = [[], [[constant((1, 1, 1, 1))]], [[tensor("image")]]]
    config = functional(image(), layer, obj("ReLU", name="last"), calls=calls)
    config["config"]["layers"][1]["inbound_nodes"][0]["kwargs"] = more
    return config


def in_reverse(config: Config) -> Config:
    config["config"]["layers"].reverse()
    return config


def called_often(times: int) -> Config:
    return functional(image(), *relus(1), calls=[[], [[tensor("image")]] * times])


def shared_doubles(levels: int) -> Config:
    """A model of two models with one shared object id, each made of two such models, and so on."""
    inside = obj("ReLU", name="relu") | {"shared_object_id": 0}
    for level in range(1, levels):
        again = obj("Sequential", "keras", name="x") | {"shared_object_id": level - 1}
        inside = sequential(inside, again, name=f"inside{level}") | {"shared_object_id": level}
    return sequential(image(), inside)


# Hostile architectures.
ARCHITECTURES: dict[str, Callable[[], Config | bytes]] = {
    "models in wrappers in models": lambda: sequential(
        image([1] * 24), nested(19, distributed, obj("ReLU", name="relu"))
    ),
    "models in models": lambda: sequential(
        image(), nested(90, lambda x, level: sequential(x, name=f"inside{level}"), obj("ReLU", name="relu"))
    ),
    "wrappers in wrappers": lambda: sequential(
        image([8, 3]), nested(8, both_ways, obj("LSTM", name="lstm", units=1, return_sequences=True))
    ),
    "objects said to be one": lambda: shared_doubles(40),
    "a long Sequential": lambda: sequential(image(), *relus(1500)),
    "many layers": lambda: functional(image(), *relus(2500)),
    "layers listed in reverse": lambda: in_reverse(functional(image(), *relus(600))),
    "a layer called often": lambda: called_often(3000),
    "a wide layer": lambda: sequential(image([10]), obj("Dense", name="wide", units=HUGE)),
    "a layer built for a wide image": lambda: sequential(
        image([10]), obj("Dense", name="wide", units=1000) | {"build_config": {"input_shape": [None, HUGE]}}
    ),
    "a large kernel": lambda: sequential(image(), obj("Conv2D", name="large", filters=4, kernel_size=[9999, 9999])),
    "a large vocabulary": lambda: sequential(image([4]), obj("Embedding", name="words", input_dim=HUGE, output_dim=99)),
    "a wide image": lambda: sequential(image([60000, 60000, 3]), obj("ReLU", name="relu")),
    "an image that is repeated": lambda: sequential(image([10]), obj("RepeatVector", name="again", n=10**12)),
    "statistics of a wide image": lambda: sequential(
        image([30000, 30000]), obj("Normalization", name="norm", axis=[1, 2], mean=0.0, variance=1.0)
    ),
    "a wide step amid others": lambda: sequential(
        image(), obj("UpSampling2D", name="up", size=[9999, 9999]), obj("GlobalAveragePooling2D", name="mean")
    ),
    "a constant that is enlarged": lambda: on_constants(obj("UpSampling2D", name="up", size=[20000, 20000])),
    "a constant that is enlarged amid a tensor": lambda: on_constants(
        obj("RandomCrop", name="crop", height=20000, width=20000),
        training={"class_name": "__slice__", "config": {"start": tensor("image"), "stop": None, "step": None}},
    ),
    "a constant of a huge type": lambda: functional(
        image(),
        obj("Add", "keras.src.ops.numpy", name="add"),
        calls=[[], [[tensor("image"), {"class_name": "__numpy__", "config": {"value": ["a"], "dtype": f"U{HUGE}"}}]]],
    ),
    "numbers without end": lambda: sequential(image(), obj("Dense", name="wide", units=10**4000)),
    "infinite numbers": lambda: sequential(image(), obj("Dense", name="wide", units=float("inf"))),
    "axes without end": lambda: sequential(image([1] * 100_000), *relus(40)),
    "names that draw": lambda: sequential(image(), obj("Dense", name="\x1b[2J\r\n\x07", units="\x1b]0;x\x07")),
    "names without end": lambda: sequential(image(), obj("Dense", name="x" * 500_000, units=3)),
    "names that point outside": lambda: sequential(image(), obj("Dense", name="../../canary", units=3)),
    "empty lists": lambda: b'{"class_name": "Sequential", "config": [' + b"[]," * 300_000 + b"[]]}",
    "a nest of lists": lambda: b'{"class_name": "Sequential", "config": ' + b"[" * 900 + b"]" * 900 + b"}",
    "no JSON at all": lambda: b"\xff{\xfe" * 1000,
}  # fmt: skip


def deep_groups(file: h5py.File) -> None:
    group = file
    for _ in range(200):
        group = group.create_group("a")


def groups_of_each_other(file: h5py.File) -> None:
    for name in "abcdef":
        file.require_group(name)
    for one in "abcdef":
        for other in "abcdef":
            file[one][other] = file[other]


def array(**words: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.create_dataset("layers/evil", **words)


# Hostile contents of a weights file.
ARRAYS: dict[str, Callable[[h5py.File], Any]] = {
    "deep groups": deep_groups,
    "groups of each other": groups_of_each_other,
    "a promised array": array(shape=(2**20, 2**20), dtype="f4", chunks=(16, 16)),
    "a packed array": array(data=np.zeros(50_000_000, "f4"), chunks=(2**20,), compression="gzip"),
    "an array of tiny parts": array(shape=(2**22,), dtype="f4", chunks=(1,)),
    "an array of elsewhere": array(shape=(4,), dtype="f4", external=[("/etc/hostname", 0, 16)]),
    "texts": array(data=[b"text"]),
    "long texts": array(shape=(), dtype=f"S{2**30}"),
    "a link": lambda file: file.__setitem__("layers/evil", h5py.ExternalLink("/etc/hostname", "/x")),
    "a name that draws": lambda file: file.__setitem__("\x1b[2J\x07", h5py.SoftLink("/x")),
    "texts beside arrays": lambda file: file.attrs.__setitem__("x", np.array([b"x"] * 60_000)),
}  # fmt: skip


def with_arrays(change: Callable[[h5py.File], Any]) -> bytes:
    with io.BytesIO(weights()) as held:
        with h5py.File(held, "r+") as file:
            change(file)
        return held.getvalue()


def bad_heap(path: Path, at: int, size: int) -> Path:
    """An HDF5 file that declares a false size of its heap of texts (`at` 8) or of a text in it (`at` 24)."""
    content = bytearray(h5_file(path).read_bytes())
    begin = content.index(b"GCOL") + at
    content[begin : begin + 8] = size.to_bytes(8, "little")
    path.write_bytes(content)
    return path


def bad_text(path: Path, size: int) -> Path:
    """An HDF5 file whose declared length of the architecture differs from the length in the heap."""
    content = bytearray(h5_file(path).read_bytes())
    length = len(json.dumps(without_modules(good())))
    heap = content.index(b"GCOL").to_bytes(8, "little")
    begin = content.index(length.to_bytes(4, "little") + heap)
    content[begin : begin + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    return path


def lying_member(path: Path, name: str, says: int) -> Path:
    """An archive whose directory declares `says` bytes for the member `name`, which has 100 megabytes."""
    bomb = bytes(100_000_000)
    config, held = (bomb, None) if name == "config.json" else (None, bomb)
    content = bytearray(keras_file(path, config, held, zipfile.ZIP_DEFLATED).read_bytes())
    entry = content.rindex(b"PK\1\2", 0, content.rindex(name.encode()))
    content[entry + 24 : entry + 28] = says.to_bytes(4, "little")
    path.write_bytes(content)
    return path


def many_members(path: Path) -> Path:
    return keras_file(path, **{f"m{number}": b"" for number in range(9000)})


# Hostile archives and files.
FILES: dict[str, Callable[[Path], Path]] = {
    "zeros for an architecture.keras": lambda path: keras_file(path, bytes(100_000_000), packing=zipfile.ZIP_DEFLATED),
    "zeros for weights.keras": lambda path: keras_file(path, held=bytes(100_000_000), packing=zipfile.ZIP_DEFLATED),
    "zeros for an asset.keras": lambda path: keras_file(path, packing=zipfile.ZIP_DEFLATED, asset=bytes(100_000_000)),
    "an architecture longer than said.keras": lambda path: lying_member(path, "config.json", 900),
    "weights longer than said.keras": lambda path: lying_member(path, "model.weights.h5", 9000),
    "spaces for an architecture.keras": lambda path: keras_file(
        path, b"  " * 40_000_000 + json.dumps(good()).encode(), packing=zipfile.ZIP_DEFLATED
    ),
    "zeros for metadata.keras": lambda path: keras_file(
        path, packing=zipfile.ZIP_DEFLATED, **{"metadata.json": bytes(90_000_000)}
    ),
    "many members.keras": many_members,
    "a member outside.keras": lambda path: keras_file(path, **{"../canary": b"x"}),
    "a member that draws.keras": lambda path: keras_file(path, **{"\x1b[2J/..": b"x"}),
    "a heap of gigabytes.h5": lambda path: bad_heap(path, 8, 5 * 2**30),
    "a heap of terabytes.h5": lambda path: bad_heap(path, 8, 2**42),
    "a text of gigabytes.h5": lambda path: bad_heap(path, 24, 5 * 2**30),
    "a text of nothing.h5": lambda path: bad_heap(path, 24, 0),
    "an architecture of gigabytes.h5": lambda path: bad_text(path, 2**32 - 1),
    "an architecture of brackets.h5": lambda path: h5_file(path, b"[" * 500_000),
}  # fmt: skip


def written(path: Path) -> Path:
    """Write the architecture or the arrays that `path.stem` names, in the file format of its suffix."""
    attack, keras = path.stem, path.suffix == ".keras"
    if attack in ARRAYS:
        change = ARRAYS[attack]
        return keras_file(path, held=with_arrays(change)) if keras else h5_file(path, change=change)
    config = ARCHITECTURES[attack]()
    if not keras and not isinstance(config, bytes):
        config = without_modules(config)
    return (keras_file if keras else h5_file)(path, config)
