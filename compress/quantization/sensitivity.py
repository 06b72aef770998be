"""The cost of each precision of each kernel, measured on images, and a choice of kernels to store in 4 bits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import gives_probabilities, kernel_names
from compress.keras_models.model import KerasModel
from compress.quantization import int4
from compress.quantization.fake_quant import QMAX, codes_of, largest_weights

IMAGES = 1000  # the most images on which costs are measured
CALIBRATION = 500  # images for the rounding of kernels to 4 bits
BATCH = 100
TINY = 1e-7  # least probability of a label, as in Keras


@dataclass(frozen=True, kw_only=True)
class KernelCost:
    """The cost of storing one kernel in `bits` bits while the rest of the model stays exact."""

    kernel: str
    bits: int
    weight_bytes: int  # of the kernel as stored
    more_loss: float  # mean cross-entropy minus that of the exact model
    noise: float  # mean squared change of the outputs
    sqnr_db: float  # mean square of the outputs over the noise, in decibels; infinite without noise


def kernel_costs(
    model: KerasModel,
    calibration: np.ndarray,
    images: np.ndarray,
    labels: np.ndarray,
    coarse: Collection[str],
) -> list[KernelCost]:
    """The cost of 8 bits for each kernel, and of 4 bits for each kernel of `coarse`, in the order of the model.

    Args:
      calibration: float32 [m, h, w, c] as the model sees them, for the rounding of kernels to 4 bits.
      images: float32 [n, h, w, c] as the model sees them, on which the cost is measured.
      labels: int [n].
    """
    trial, kernels = model.copy(), model.kernels()
    variables, exact = trial.kernel_variables(), _outputs(trial, images)
    probabilities = gives_probabilities(model.keras)
    exact_loss, costs = _loss(exact, labels, probabilities), []
    for name, w in kernels.items():
        for bits in (8, 4) if name in coarse else (8,):
            four = bits == 4
            rounded = (
                int4.fake_quantized(model, [name], calibration).kernels()[name]
                if four
                else _in_8_bits(model, name, w)
            )
            variables[name].assign(rounded)
            outputs = _outputs(trial, images)
            noise = float(np.mean(np.square(outputs - exact)))
            signal = float(np.mean(np.square(exact)))
            costs.append(
                KernelCost(
                    kernel=name,
                    bits=bits,
                    weight_bytes=(w.size * bits + 7) // 8,
                    more_loss=_loss(outputs, labels, probabilities) - exact_loss,
                    noise=noise,
                    sqnr_db=10 * float(np.log10(signal / noise)) if noise else float("inf"),
                )
            )
        variables[name].assign(w)
    return costs


def least_noise(noise: Mapping[str, float], saved: Mapping[str, int], bytes_: int) -> list[str]:
    """Kernels that save at least `bytes_` bytes together, by least noise per byte saved, without needless kernels.

    All kernels if they cannot save that many bytes.

    >>> least_noise({"a": 1.0, "b": 3.0, "c": 4.0}, {"a": 10, "b": 10, "c": 100}, 50)
    ['c']
    >>> least_noise({"a": 1.0, "b": 3.0, "c": 4.0}, {"a": 10, "b": 10, "c": 100}, 105)
    ['c', 'a']
    """
    chosen: list[str] = []
    for name in sorted(noise, key=lambda name: noise[name] / saved[name]):
        if sum(saved[c] for c in chosen) < bytes_:
            chosen.append(name)
    for name in sorted(chosen, key=lambda name: -noise[name]):
        if sum(saved[c] for c in chosen) - saved[name] >= bytes_:
            chosen.remove(name)
    return chosen


def cost_table(costs: Sequence[KernelCost]) -> list[dict[str, Any]]:
    """A record for each kernel: its bytes, added loss and output SQNR in 8 and in 4 bits; None if there is none."""
    by_bits = {(cost.kernel, cost.bits): cost for cost in costs}
    table = []
    for name in dict.fromkeys(cost.kernel for cost in costs):
        record: dict[str, Any] = {"kernel": name}
        for bits in (8, 4):
            cost = by_bits.get((name, bits))
            finite = cost is not None and np.isfinite(cost.sqnr_db)
            record[f"bytes_{bits}"] = cost.weight_bytes if cost else None
            record[f"more_loss_{bits}"] = round(cost.more_loss, 6) if cost else None
            record[f"sqnr_db_{bits}"] = round(cost.sqnr_db, 2) if cost and finite else None
        table.append(record)
    return table


def _in_8_bits(model: KerasModel, name: str, w: np.ndarray) -> np.ndarray:
    (layout,) = (
        kernel
        for layer in model.keras.layers
        for own, kernel in zip(kernel_names(layer), kind_of(layer).kernels, strict=True)
        if own == name
    )
    steps = largest_weights(w, layout) / QMAX[8]
    return (codes_of(w, steps, 8) * steps).astype(np.float32)


def _outputs(model: KerasModel, images: np.ndarray) -> np.ndarray:
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    outputs = [np.array(model.keras(batch, training=False), np.float64) for batch in batches]
    return np.concatenate(outputs)


def _loss(outputs: np.ndarray, labels: np.ndarray, probabilities: bool) -> float:
    """Mean cross-entropy of logits, or of probabilities, [n, classes]."""
    if not probabilities:
        shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs = shifted / shifted.sum(axis=1, keepdims=True)
    return float(-np.log(np.maximum(outputs[np.arange(len(labels)), labels], TINY)).mean())
