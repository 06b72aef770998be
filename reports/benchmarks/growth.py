"""Measure seconds and memory as work grows: `python reports/benchmarks/growth.py FOLDER_OF_BINARY_BATCHES`.

It measures whole processes on the baseline CNN: trainings on more images, for more epochs and of wider networks, and
more pipelines. In each group one number grows and the others stay the same. It writes growth.json beside itself.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from whole_process import keep, timed

HERE = Path(__file__).parent
# Group -> what grows, its values, and the words of the command, in which {} stands for a value.
TRAIN = (
    "finetune --task images --data {data} --model {model} --input-scale 1/255 --learning-rate 0.01"
)
GROUPS: dict[str, tuple[str, tuple[float, ...], str]] = {
    "images": ("training images, 1 epoch", (2_000, 4_000, 8_000, 16_000), f"{TRAIN} --epochs 1"),
    "epochs": ("epochs on 2,000 images", (1, 2, 4, 8), f"{TRAIN} --epochs {{}}"),
    "width": ("width, 2 epochs on the sample", (0.5, 1, 2, 4), "train --width {} --epochs 2"),
    "pipelines": ("pipelines of quantize", (1, 2, 4, 8), "run --pipeline many.toml"),
}
FEW = 2_000


def data_file(batches: Path, folder: Path, images: int) -> Path:
    """Write an .npz file of CIFAR-10: `images` training images, 500 validation images and 500 test images."""
    import numpy as np

    raw = np.concatenate(
        [np.fromfile(p, np.uint8) for p in sorted(batches.glob("data_batch_*.bin"))]
    )
    rows = raw.reshape(-1, 3073)
    pixels, labels = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]
    path = folder / f"{images}.npz"
    parts = {"train": slice(0, images), "validation": slice(-1000, -500), "test": slice(-500, None)}
    arrays = {f"x_{name}": pixels[part] for name, part in parts.items()}
    np.savez(path, **arrays, **{f"y_{name}": labels[part] for name, part in parts.items()})
    return path


def words_of(group: str, value: float, batches: Path, folder: Path) -> list[str]:
    """The words of the command for a value of a group. Files that the command needs are written."""
    words = GROUPS[group][2]
    if group == "pipelines":
        runs = [
            f'[[pipeline]]\nrun = "quantize --calibration {100 + 10 * n}"\n'
            for n in range(int(value))
        ]
        (folder / "many.toml").write_text("\n".join(runs))
    if "{data}" in words:
        data = data_file(batches, folder, int(value) if group == "images" else FEW)
        model = HERE.parents[1] / "baselines" / "trained" / "baseline.keras"
        return words.format(value, data=data, model=model).split()
    return words.format(value).split()


def measured(batches: Path) -> dict[str, list[dict[str, float]]]:
    """Group -> the measurements of each of its values."""
    took: dict[str, list[dict[str, float]]] = {}
    for group, (_, values, _) in GROUPS.items():
        for value in values:
            with tempfile.TemporaryDirectory() as name:
                words = words_of(group, value, batches, Path(name))
                line = timed([sys.executable, "-m", "compress", *words], Path(name))
            took.setdefault(group, []).append({"value": value, **line})
            print(group, took[group][-1], flush=True)
    return took


def main(batches: Path) -> None:
    took = measured(batches)
    result = {
        "what": "whole processes as one number grows",
        "counts": {group: what for group, (what, _, _) in GROUPS.items()},
        "took": took,
    }
    keep(HERE / "growth.json", result)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
