"""Train a Conv1D network on float features to recognize the speaker of two vowels: `python vowels.py OUT`.

The data are Japanese Vowels, with nine speakers and 12 cepstral coefficients per frame (Kudo, Toyama and Shimbo 1999).
The package aeon ships them: pip install --no-deps aeon
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

FRAMES = 29  # in the longest utterance; shorter ones are padded with zeros
COEFFICIENTS = 12
SPEAKERS = 9
EPOCHS = 80
BATCH = 16


def conv_net(width: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((FRAMES, COEFFICIENTS)),
            layers.Conv1D(width, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv1D(2 * width, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling1D(2),
            layers.Conv1D(2 * width, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling1D(),
            layers.Dropout(0.3),
            layers.Dense(SPEAKERS, activation="softmax"),
        ]
    )


def utterances(part: str) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n, 29, 12] and labels from 0 of "TRAIN" or "TEST". A line is "coefficient:coefficient:...:speaker"."""
    (package,) = importlib.util.find_spec("aeon").submodule_search_locations
    file = Path(package) / "datasets" / "data" / "JapaneseVowels" / f"JapaneseVowels_{part}.ts"
    lines = file.read_text().split("@data")[1].split()
    x = np.zeros((len(lines), FRAMES, COEFFICIENTS), np.float32)
    y = np.zeros(len(lines), np.uint8)
    for number, line in enumerate(lines):
        *coefficients, speaker = line.split(":")
        values = np.array([row.split(",") for row in coefficients], np.float32)
        x[number, : values.shape[1]] = values.T
        y[number] = int(speaker) - 1
    return x, y


def vowels() -> dict[str, np.ndarray]:
    """225 utterances for training, 45 for validation (every sixth of each speaker), 370 of the published test set."""
    (x, y), (test_x, test_y) = utterances("TRAIN"), utterances("TEST")
    held_out = np.arange(len(y)) % 6 == 5
    return {
        "x_train": x[~held_out], "y_train": y[~held_out],
        "x_validation": x[held_out], "y_validation": y[held_out],
        "x_test": test_x, "y_test": test_y,
    }  # fmt: skip


def main(out: Path) -> None:
    keras.utils.set_random_seed(4)
    data = vowels()
    np.savez(out / "vowels.npz", **data)
    model = conv_net(24)
    steps = EPOCHS * -(-len(data["y_train"]) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    validation = data["x_validation"], data["y_validation"]
    model.fit(
        data["x_train"],
        data["y_train"],
        BATCH,
        EPOCHS,
        validation_data=validation,
        verbose=2,
    )
    model.save(out / "vowels.keras")
    conv_net(12).save(out / "vowels-half.keras")  # an untrained student


if __name__ == "__main__":
    main(Path(sys.argv[1]))
