"""4-bit kernels: the kernels of a Keras model that can have 4 bits, the error of each, and the `.tflite` file."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping

import numpy as np

from compress import backend
from compress.keras_models.layer_kinds import kind_of
from compress.keras_models.layers import is_depthwise, layer_of
from compress.keras_models.model import KerasModel
from compress.quantization.gptq import QMAX, mse_scales, rounded
from compress.quantization.hessian import input_moments
from compress.quantization.int4_export import quantized
from compress.tflite import contents
from compress.tflite.convert import converted
from compress.tflite.kernel_matching import StoredKernel, match
from compress.tflite.model import TFLiteModel
from compress.tflite.slim_proof import slim_export
from compress.weight_sharing import is_clustered

_BATCH = 100  # images


def check() -> None:
    """Raise ValueError, with the command that helps, unless ai-edge-quantizer is installed."""
    if importlib.util.find_spec("ai_edge_quantizer") is None:
        raise ValueError(
            "4-bit weights need ai-edge-quantizer, which is not installed: "
            "pip install 'compress-cnn[int4]'."
        )


def refused(model: KerasModel) -> dict[str, str]:
    """Layer name -> class, for each layer whose kernel TFLite cannot store in 4 bits; without depthwise kernels."""
    kernels = {layer_of(name) for name in model.kernel_variables() if not is_depthwise(name)}
    return {
        layer.name: type(layer).__name__
        for layer in model.keras.layers
        if layer.name in kernels and (not kind_of(layer).int4 or getattr(layer, "groups", 1) > 1)
    }


def possible(model: KerasModel) -> list[str]:
    """Names of the kernels with which TFLite can compute in 4 bits."""
    names, without = model.kernel_variables(), refused(model)
    return [name for name in names if not is_depthwise(name) and layer_of(name) not in without]


def output_mse(model: KerasModel, names: Collection[str], images: np.ndarray) -> dict[str, float]:
    """Kernel name -> mean squared change of the model's outputs when this kernel alone has 4 bits.

    Args:
      images: float32 [n, h, w, c] as the model sees them.
    """
    trial, kernels = model.copy(), model.kernels()
    variables, exact = trial.kernel_variables(), _outputs(trial, images)
    mse = {}
    for name in names:
        variables[name].assign(_rounded(trial, name, images))
        mse[name] = float(np.mean(np.square(_outputs(trial, images) - exact)))
        variables[name].assign(kernels[name])
    return mse


def fake_quantized(model: KerasModel, names: Collection[str], images: np.ndarray) -> KerasModel:
    """A copy with the named kernels rounded to 4 bits. Each is rounded for the inputs that the rounded copy gives it.

    Args:
      images: float32 [n, h, w, c] as the model sees them."""
    result = model.copy()
    for name, variable in result.kernel_variables().items():
        if name in names:
            variable.assign(_rounded(result, name, images))
    return result


def _rounded(model: KerasModel, name: str, images: np.ndarray) -> np.ndarray:
    """A kernel rounded to 4 bits so that its outputs change least.

    A kernel with shared weights is rounded to the nearest steps instead, so that equal weights stay equal.
    """
    kernel = model.kernels()[name]
    return rounded(kernel, None if is_clustered(kernel) else input_moments(model, name, images))


def export(model: KerasModel, names: Collection[str], images: np.ndarray) -> TFLiteModel:
    """The `.tflite` file with the named kernels in 4 bits and all others in 8; it computes, takes and gives integers.

    Args:
      images: float32 [n, h, w, c] as the model sees them, for the rounding of weights and the ranges of activations.

    Raises:
      ValueError: a kernel is not stored as asked, or an operator would compute in floats.
    """
    exact, copy = model.kernels(), fake_quantized(model, names, images)
    with backend.stderr_held_back():
        float_file = converted(copy.keras, "float32")
    beyond = {
        tensor: _beyond(QMAX * mse_scales(exact[name]), copy.kernels()[name])
        for tensor, name in _tensors(float_file, copy.kernels(), names).items()
    }
    return slim_export(quantized(float_file, beyond, images), images)


def trial(model: KerasModel, names: Collection[str], images: np.ndarray) -> bytes:
    """A file as `export` writes it before slimming, without calibrated rounding. Raises as `export` does.

    Args:
      images: float32 [n, h, w, c], which give the ranges of activations; random images or a blank one are enough.
    """
    float_file, kernels = converted(model.keras, "float32"), model.kernels()
    beyond = {
        tensor: np.ones(kernels[name].shape[-1])
        for tensor, name in _tensors(float_file, kernels, names).items()
    }
    return quantized(float_file, beyond, images)


def _beyond(ends: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Grid end of each output channel [o], as a multiple of the channel's largest weight."""
    largest = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0)
    return np.where(largest > 0, ends / np.where(largest > 0, largest, 1), 1)


def _outputs(model: KerasModel, images: np.ndarray) -> np.ndarray:
    batches = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
    return np.concatenate([np.array(model.keras(b, training=False)) for b in batches])


def _tensors(
    content: bytes, kernels: Mapping[str, np.ndarray], names: Collection[str]
) -> dict[str, str]:
    """Tensor name of a float file -> the named kernel that the tensor holds."""
    stored = contents.kernels(content)
    tensors = {}
    for name, values in match(stored, kernels).items():
        own = next(s for s in stored if _same(s, values))
        stored.remove(own)
        if name in names:
            tensors[own.name] = name
    return tensors


def _same(stored: StoredKernel, values: np.ndarray) -> bool:
    same_size = stored.values.size == values.size
    return same_size and np.array_equal(stored.values.reshape(values.shape), values)
