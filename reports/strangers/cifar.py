"""The official binary batches of CIFAR-10 as numpy arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def read(folder: Path) -> dict[str, np.ndarray]:
    """Images uint8 [n, 32, 32, 3] and labels: 45,000 for training, 5,000 for validation, 10,000 for test."""
    train = [folder / f"data_batch_{i}.bin" for i in range(1, 6)]
    x, y = batches(train)
    x_test, y_test = batches([folder / "test_batch.bin"])
    return {
        **{"x_train": x[:45000], "y_train": y[:45000]},
        **{"x_validation": x[45000:], "y_validation": y[45000:]},
        **{"x_test": x_test, "y_test": y_test},
    }


def batches(files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of files. Each record is a label and 1,024 bytes each of red, green and blue."""
    records = np.concatenate([np.fromfile(f, np.uint8).reshape(-1, 3073) for f in files])
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
