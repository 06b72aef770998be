"""The official CIFAR-10 batches in a folder: `data_batch_1.bin` to `_5.bin` and `test_batch.bin`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from baselines.cifar10_checks import PIXELS, SIDE, Arrays, Counts, Files, checked

BATCHES = 5
RECORD = 1 + PIXELS  # bytes: the label, then the red, green and blue plane, row by row


def binary_batch(content: bytes, records: int, where: str) -> Arrays:
    """Images and labels of one binary batch. ValueError if it does not hold `records` whole images."""
    if len(content) != records * RECORD:
        raise ValueError(
            f"{where}: {len(content):,} bytes; a batch of {records:,} images has {records * RECORD:,} "
            f"({records:,} x {RECORD:,}); get the file again."
        )
    rows = np.frombuffer(content, np.uint8).reshape(records, RECORD)
    return _from_planes(rows[:, 1:]), rows[:, 0]


def _from_planes(rows: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def open_binary_folder(folder: Path, counts: Counts) -> Files:
    """The binary batches in `folder`, all there and of the right size."""
    train = [folder / f"data_batch_{i}.bin" for i in range(1, BATCHES + 1)]
    test = [folder / "test_batch.bin"]

    def read(paths: list[Path], count: int) -> Arrays:
        parts = [binary_batch(p.read_bytes(), count // len(paths), str(p)) for p in paths]
        images, labels = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return checked(images, labels, count, str(folder))

    for path in [*train, *test]:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing.")
    return Files(lambda: read(train, counts.train), lambda: read(test, counts.test))
