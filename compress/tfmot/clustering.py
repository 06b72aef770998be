"""Training with weight sharing, by tfmot: it learns the shared values and the cluster of each weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compress import backend
from compress.keras_models.model import KerasModel
from compress.tfmot import bridge


def with_clustering(twin: Any, centroids: Mapping[str, np.ndarray]) -> Any:
    """A tf_keras model whose kernels share values while it is trained; weights that are zero now stay zero.

    tfmot makes the wrapper and trains it. The caller gives the initial values, because tfmot's initializations fail or
    are poor for zeros in channels, few values, and Conv2D without bias.

    Args:
      twin: the result of `bridge.twin`. It must not be used afterwards: its layers become layers of the returned model.
      centroids: layer name -> initial values of its kernel, [k], or [o, k] for a Conv2D with separate values for each
        output channel. One value must be 0 if weights are zero. For a SeparableConv2D, these are the values of the
        pointwise kernel.
    """
    model = bridge.tf_keras().models.clone_model(
        twin,
        clone_function=lambda layer: (
            _wrapped(layer, centroids[layer.name]) if layer.name in centroids else layer
        ),
    )
    for wrapper in _wrappers(model):
        _initialize(wrapper, centroids[wrapper.layer.name])
    return model


def with_clustered_weights_of(clustering: Any, model: Any) -> Any:
    """A copy of the Keras 3 `model` with the weights and clustered kernels of a model of `with_clustering`."""
    wrappers = {wrapper.layer.name: wrapper for wrapper in _wrappers(clustering)}
    copy = KerasModel(model).copy().keras
    for layer in copy.layers:
        if layer.name in wrappers:
            layer.set_weights(_weights(wrappers[layer.name]))
        elif layer.get_weights():
            layer.set_weights(clustering.get_layer(layer.name).get_weights())
    return copy


def _wrapped(layer: Any, centroids: np.ndarray) -> Any:
    clustering = bridge.tfmot().clustering.keras
    wrapper = clustering.cluster_weights(
        layer,
        centroids.shape[-1],
        clustering.CentroidInitialization.LINEAR,  # never fails, and is replaced below
        # A shared value moves by the mean gradient of its weights. tfmot's default is the sum, which for thousands of
        # weights has the effect of a learning rate thousands of times larger. tfmot compares this option as a string.
        cluster_gradient_aggregation="GradientAggregation.AVG",
    )
    # Not set by an argument: tfmot would count channels by the bias, and ignore a Conv2D without bias.
    wrapper.cluster_per_channel = centroids.ndim == 2
    return wrapper


def _initialize(wrapper: Any, centroids: np.ndarray) -> None:
    """Set the initial values of a new wrapper, and make it keep the kernel's zeros."""
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
    """The weights of a wrapped layer, with the clustered kernel, in the order of the layer."""
    wrapper.update_clustered_weights_associations()
    weights = wrapper.layer.get_weights()  # without the kernel, which tfmot made a tensor
    for position, name in sorted(wrapper.position_original_weights.items()):
        weights.insert(position, np.array(wrapper.get_weight_from_layer(name)))
    return weights
