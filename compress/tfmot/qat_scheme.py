"""tfmot's scheme for int8, corrected where training would differ from what the file computes."""

from __future__ import annotations

from typing import Any

from compress import backend
from compress.keras_models.layer_kinds import KINDS
from compress.tfmot.bridge import tf_keras, tfmot

# Layers that TFLite computes in one operator with a ReLU after them. A SeparableConv2D is split before this.
FUSED = f"({'|'.join(name for name, kind in KINDS.items() if kind.int8_activation)})"


def scheme(stateless: tuple[type, ...] = ()) -> Any:
    """tfmot's default 8-bit scheme with three corrections.

    - The kernel of a convolution or Dense layer with a ReLU after it is quantized in training. tfmot leaves such a
      kernel in float, so that the converter would round it without training.
    - A DepthwiseConv2D has a scale for each output channel, as Conv2D has. With one scale for all channels, a
      BatchNormalization that is folded into it would change the stored numbers.
    - Added layers are named after the layers that they come from.

    Args:
      stateless: classes of layers that change nothing outside training.
    """
    keras, default_8bit = tf_keras(), tfmot().quantization.keras.default_8bit
    transforms = default_8bit.default_8bit_transforms
    layout = default_8bit.Default8BitQuantizeLayoutTransform
    registry = default_8bit.Default8BitQuantizeRegistry

    class Layout(layout):  # type: ignore[misc, valid-type]
        def apply(self, model: Any, layer_quantize_map: dict[str, Any]) -> Any:
            transformer = tfmot().quantization.keras.graph_transformations.model_transformer
            return transformer.ModelTransformer(
                model, _transforms(), set(layer_quantize_map), layer_quantize_map
            ).transform()

    class Registry(registry):  # type: ignore[misc, valid-type]
        def supports(self, layer: Any) -> bool:
            return isinstance(layer, stateless) or registry.supports(self, layer)

        def get_quantize_config(self, layer: Any) -> Any:
            if isinstance(layer, stateless):
                return transforms.LayerReLUQuantize().custom_objects()["NoOpQuantizeConfig"]()
            config = registry.get_quantize_config(self, layer)
            if type(layer) is keras.layers.DepthwiseConv2D:
                config.weight_quantizer = _by_channel()
            return config

    class Scheme(default_8bit.Default8BitQuantizeScheme):  # type: ignore[name-defined]
        def get_layout_transformer(self) -> Any:
            return Layout()

        def get_quantize_registry(self) -> Any:
            return Registry()

    return Scheme()


def _by_channel() -> Any:
    """A quantizer of depthwise kernels [h, w, c, m], whose output channels are the last two axes."""
    keras, last = tf_keras(), tfmot().quantization.keras.quantizers.LastValueQuantizer
    reshape = backend.tensorflow().reshape

    class ByChannel(last):  # type: ignore[misc, valid-type]
        def build(self, shape: Any, name: str, layer: Any) -> dict[str, Any]:
            channels = (shape[2] * shape[3],)

            def side(end: str, value: float) -> Any:
                begin = keras.initializers.Constant(value)
                return layer.add_weight(
                    f"{name}_{end}", channels, initializer=begin, trainable=False
                )

            return {"min_var": side("min", -6.0), "max_var": side("max", 6.0)}

        def __call__(self, inputs: Any, training: bool, weights: Any, **others: Any) -> Any:
            h, w, c, m = inputs.shape
            flat = last.__call__(self, reshape(inputs, (h, w, 1, c * m)), training, weights)
            return reshape(flat, (h, w, c, m))

    return ByChannel(num_bits=8, per_axis=True, symmetric=True, narrow_range=True)


def _transforms() -> list[Any]:
    """Transforms of the graph before quantization: the transforms of tfmot that can apply here, and our own."""
    transforms = tfmot().quantization.keras.default_8bit.default_8bit_transforms
    return [
        *_named(transforms),
        transforms.Conv2DBatchNormReLUQuantize(),
        transforms.Conv2DBatchNormQuantize(),
        transforms.ConcatTransform6Inputs(),
        transforms.ConcatTransform5Inputs(),
        transforms.ConcatTransform4Inputs(),
        transforms.ConcatTransform3Inputs(),
        transforms.ConcatTransform(),
        *_before_relu(transforms),
    ]


def _named(transforms: Any) -> list[Any]:
    """Transforms that name new layers after the layers that they come from, not by a counter of the process."""
    first, separable = transforms.InputLayerQuantize, transforms.SeparableConvQuantize

    def rename(node: Any, name: str) -> None:
        node.layer["name"] = node.layer["config"]["name"] = name

    class Image(first):  # type: ignore[misc, valid-type]
        def replacement(self, match: Any) -> Any:
            node = first.replacement(self, match)
            rename(node, f"quantized_{match.layer['config']['name']}")
            return node

    class Parts(separable):  # type: ignore[misc, valid-type]
        def replacement(self, match: Any) -> Any:
            node, name = separable.replacement(self, match), match.layer["config"]["name"]
            rename(node, name)
            rename(node.input_layers[0], depthwise_name(name))
            return node

    return [Image(), Parts()]


def depthwise_name(separable: str) -> str:
    """The name of the first part of a SeparableConv2D; the second part has the layer's name."""
    return f"{separable}_depthwise"


def _before_relu(transforms: Any) -> list[Any]:
    """Transforms that prevent quantization between a layer and the ReLU after it."""
    pattern = tfmot().quantization.keras.graph_transformations.transforms.LayerPattern
    no_op = transforms.Conv2DBatchNormQuantize().custom_objects()["NoOpActivation"]()

    class Kernel(transforms.LayerReLUQuantize):
        def pattern(self) -> Any:
            return pattern("ReLU", inputs=[pattern(FUSED, config={"activation": "linear"})])

        def replacement(self, match: Any) -> Any:
            config = match.input_layers[0].layer["config"]
            config["activation"] = tf_keras().activations.serialize(no_op, use_legacy_format=True)
            return match

        def custom_objects(self) -> dict[str, Any]:
            return {"NoOpActivation": type(no_op)}

    class Sum(transforms.LayerReLUQuantize):
        def pattern(self) -> Any:
            return pattern("ReLU", inputs=[pattern("Add")])

    return [Kernel(), Sum()]
