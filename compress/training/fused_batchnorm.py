"""BatchNormalization by TensorFlow's fused operation, for trainings in bfloat16. Its statistics are float32."""

from __future__ import annotations

from typing import Any

from compress import backend
from compress.keras_models.layers import is_batchnorm

FAST_CHANNELS = 16  # oneDNN normalizes bfloat16 fast only if the channels are a multiple of this


def can_fuse(layer: Any) -> bool:
    """True if a layer is a BatchNormalization with channels last, not synchronized, on TensorFlow."""
    on_tensorflow = backend.uses_tensorflow(backend.keras())
    return (
        on_tensorflow and is_batchnorm(layer) and layer.axis in (-1, 3) and not layer.synchronized
    )


def fuse(layer: Any) -> None:
    """Make the layer train with the fused operation. Its variables and their updates stay the same.

    Keras computes the same with about twenty operations. They take longer than the convolutions of a narrow network.
    """
    tf, own = backend.tensorflow(), layer.call

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if not training or not layer.trainable or mask is not None or len(inputs.shape) != 4:
            return own(inputs, training=training, mask=mask)
        channels = inputs.shape[-1]
        x = tf.cast(inputs, "float32" if channels % FAST_CHANNELS else layer.compute_dtype)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=tf.ones(channels) if layer.gamma is None else tf.convert_to_tensor(layer.gamma),
            offset=tf.zeros(channels) if layer.beta is None else tf.convert_to_tensor(layer.beta),
            mean=tf.zeros(0),
            variance=tf.zeros(0),
            epsilon=layer.epsilon,
            is_training=True,
        )
        n = tf.cast(tf.size(x) // channels, "float32")
        # The operation gives the sample variance, with n - 1. Keras averages the batch variance, with n.
        for average, value in (
            (layer.moving_mean, mean),
            (layer.moving_variance, variance * (n - 1) / n),
        ):
            average.assign(average * layer.momentum + value * (1 - layer.momentum))
        return tf.cast(y, layer.compute_dtype)

    layer.call, layer.autocast = call, False  # gamma and beta are read in float32


def unfuse(layer: Any) -> None:
    """Undo `fuse`."""
    del layer.call
    layer.autocast = True
