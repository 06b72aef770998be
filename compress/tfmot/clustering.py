"""Weight sharing in training, by tfmot: which value a weight shares, and the values, both learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.model import KerasModel
from compress.tfmot import bridge


def with_clustering(twin: Any, centroids: Mapping[str, np.ndarray]) -> Any:
    """A tf_keras model whose kernels share values while it is trained; weights that are zero now stay zero.

    tfmot makes the wrapper and trains it. Where the values begin is said here and not by tfmot: its own beginnings
    fail or fall short for zeros in channels, few values, and Conv2D without bias.

    Args:
      twin: what `tfmot_bridge.twin` gave; it must not be used any more, as its layers become those of the result.
      centroids: layer name -> the values that its kernel begins with, [k], or [o, k] for a Conv2D whose output
        channels have values of their own; with a 0 among them if weights of it are zero. Of a SeparableConv2D it is
        the pointwise kernel's.
    """
    model = bridge.tf_keras().models.clone_model(
        twin,
        clone_function=lambda layer: (
            _wrapped(layer, centroids[layer.name]) if layer.name in centroids else layer
        ),
    )
    for wrapper in _wrappers(model):
        _begin(wrapper, centroids[wrapper.layer.name])
    return model


def with_clustered_weights_of(clustering: Any, model: Any) -> Any:
    """A copy of the Keras 3 `model` with the weights, kernels clustered, of a model of `with_clustering`."""
    wrappers = {wrapper.layer.name: wrapper for wrapper in _wrappers(clustering)}
    home = KerasModel(model).copy().keras
    for layer in home.layers:
        if layer.name in wrappers:
            layer.set_weights(_weights(wrappers[layer.name]))
        elif layer.get_weights():
            layer.set_weights(clustering.get_layer(layer.name).get_weights())
    return home


def _wrapped(layer: Any, centroids: np.ndarray) -> Any:
    clustering = bridge.tfmot().clustering.keras
    wrapper = clustering.cluster_weights(
        layer,
        centroids.shape[-1],
        clustering.CentroidInitialization.LINEAR,  # never fails, and is replaced in `_begin`
        # A shared value moves by the mean of its weights' gradients, as they would. tfmot's default is the sum: with
        # thousands of weights to a value, thousands of times the learning rate. The enumeration is of strings.
        cluster_gradient_aggregation="GradientAggregation.AVG",
    )
    # Not as an argument: tfmot then counts channels by the bias, and leaves a Conv2D without one as it is.
    wrapper.cluster_per_channel = centroids.ndim == 2
    return wrapper


def _begin(wrapper: Any, centroids: np.ndarray) -> None:
    """Give a wrapper that was just built its values, and have it hold the kernel's zeros."""
    tf = backend.tensorflow()
    for name, variable in wrapper.cluster_centroids.items():
        kernel = np.array(wrapper.original_clusterable_weights[name])
        variable.assign(centroids)
        if not kernel.all():
            wrapper.preserve_sparsity = True
            wrapper.sparsity_masks[name] = tf.constant(kernel != 0, tf.float32)
            wrapper.zero_idx[name] = tf.constant(np.argmin(np.abs(centroids), axis=-1))


def _wrappers(model: Any) -> list[Any]:
    wrapper = bridge.tf_keras().layers.Wrapper
    return [layer for layer in model.layers if isinstance(layer, wrapper)]


def _weights(wrapper: Any) -> list[np.ndarray]:
    """The weights of a wrapped layer in its own order, the clustered kernel among them."""
    wrapper.update_clustered_weights_associations()
    weights = wrapper.layer.get_weights()  # without the kernel, which became a tensor
    for position, name in sorted(wrapper.position_original_weights.items()):
        weights.insert(position, np.array(wrapper.get_weight_from_layer(name)))
    return weights
