"""The official CIFAR-10 batches in a folder, checked for the number of images that a copy must have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from baselines.cifar10.spec import PIXELS, Arrays, Counts, Files, checked
from compress.data.cifar_batches import BATCHES, BINARY, RECORD, Layout, check_range


def check_sizes(layout: Layout, sizes: Mapping[str, int], counts: Counts, where: str) -> None:
    """Check `sizes`, file name -> bytes. FileNotFoundError if a batch is missing, ValueError if its size is wrong."""
    for name in [*layout.train, *layout.test]:
        records = counts.test if name in layout.test else counts.train // BATCHES
        if name not in sizes:
            raise FileNotFoundError(
                f"{where}/{name} is missing; a copy of CIFAR-10 has {BATCHES} training batches and a test batch."
            )
        if layout is BINARY and sizes[name] != records * RECORD:
            raise ValueError(
                f"{where}/{name}: {sizes[name]:,} bytes; a batch of {records:,} images has "
                f"{records * RECORD:,} ({records:,} x {RECORD:,}): get the file again."
            )
        if sizes[name] < records * PIXELS:
            raise ValueError(
                f"{where}/{name}: {sizes[name]:,} bytes; a pickled batch of {records:,} images has "
                f"more than {records * PIXELS:,}: get the file again."
            )


def join(
    layout: Layout, contents: Sequence[bytes], names: Sequence[str], count: int, where: str
) -> Arrays:
    """The `count` images and labels of all these batches together."""
    records = count // len(names)
    parts = [
        layout.decode(content, records, f"{where}/{name}")
        for content, name in zip(contents, names, strict=True)
    ]
    for name, (_, labels) in zip(names, parts, strict=True):
        check_range(labels, f"{where}/{name}")
    images, labels = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return checked(images, labels, count, where)


def open_batches(folder: Path, layout: Layout, counts: Counts) -> Files:
    """The batches in `folder`, after a check that all are there and have the right size."""
    present = [name for name in [*layout.train, *layout.test] if (folder / name).is_file()]
    sizes = {name: (folder / name).stat().st_size for name in present}
    check_sizes(layout, sizes, counts, str(folder))

    def read(names: Sequence[str], count: int) -> Arrays:
        contents = [(folder / name).read_bytes() for name in names]
        return join(layout, contents, names, count, str(folder))

    return Files(
        train=lambda: read(layout.train, counts.train), test=lambda: read(layout.test, counts.test)
    )
