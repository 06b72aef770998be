"""The allowlist for the architecture in a model file: an explicit list of Keras classes. Code is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from compress import backend

MAX_DEPTH = 200  # of nested JSON; each nested model or wrapper needs about 12
# Limits for the text and its values: four times as much as the largest model in keras.applications, with 1,041 layers.
MAX_BYTES, MAX_VALUES = 2**22, 250_000
COMPILED = "compile_config"  # where Keras keeps optimizer, losses and metrics

# Layers whose configuration holds only numbers, names of activations and classes of this module. Lambda, TFSMLayer,
# JaxLayer, FlaxLayer, TorchModuleWrapper and layers with a vocabulary are not listed: they hold code or read files.
LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention Average
AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CenterCrop Concatenate Conv1D
Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D
Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten GRU GRUCell
GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization Identity InputLayer LSTM LSTMCell
LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention Multiply
Normalization PReLU Permute RMSNormalization RNN RandomBrightness RandomContrast RandomCrop RandomFlip RandomRotation
RandomTranslation RandomZoom ReLU RepeatVector Rescaling Reshape Resizing SeparableConv1D SeparableConv2D SimpleRNN
SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""
# Operations that `x + y`, `x[:, ::2]` or `keras.ops.relu(x)` put into a functional model. Module -> classes.
OPERATIONS = {
    "keras.src.ops.numpy": "Absolute Add Clip Concatenate Divide Exp ExpandDims Flip GetItem Log Max Maximum Mean Min "
    "Minimum Multiply Negative Pad Power Reshape Sqrt Square Squeeze Stack Subtract Sum Tanh Transpose TrueDivide",
    "keras.src.ops.nn": "AveragePool DepthToSpace Elu Gelu HardSigmoid HardSilu HardTanh LeakyRelu LogSoftmax MaxPool "
    "Normalize Relu Relu6 Selu Sigmoid Silu Softmax Softplus Softsign SpaceToDepth",
}
MODELS = {
    "Functional": {None, "keras.src.models.functional"},
    "Model": {None, "keras", "keras.models"},
    "Sequential": {None, "keras", "keras.models"},
}
# Kinds of small objects: public module of their classes -> base class.
KINDS = {
    "initializers": "Initializer",
    "regularizers": "Regularizer",
    "constraints": "Constraint",
    "dtype_policies": "DTypePolicy",
}
# Class names that represent plain values which JSON cannot express.
VALUES = (
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__slice__",
    "__ellipsis__",
    "__tuple__",
    "TensorShape",
)

TRUST = "if you made the file yourself, and know what code is in it, add --trust"
NO_CODE = (
    f"use Keras layers in its place (Rescaling, Activation, Reshape) and save again; or, {TRUST}"
)
WAYS_OUT = {
    "Lambda": NO_CODE,
    "__lambda__": NO_CODE,
    "function": NO_CODE,
    "TFOpLambda": NO_CODE,
    "SlicingOpLambda": NO_CODE,
    "Policy": "this toolkit works on float32 models: build the model without a mixed-precision policy",
    "PruneLowMagnitude": "apply strip_pruning of tensorflow_model_optimization before saving",
    "ClusterWeights": "apply strip_clustering of tensorflow_model_optimization before saving",
    "QuantizeLayer": "give the model as it was before quantize_model",
    "QuantizeWrapperV2": "give the model as it was before quantize_model",
    "Int8QuantizationConfig": "give the model as it was before model.quantize()",
    "Int4QuantizationConfig": "give the model as it was before model.quantize()",
    "Float8QuantizationConfig": "give the model as it was before model.quantize()",
}


def parse(text: str | bytes, anew: Callable[[Any], Any] = lambda config: config) -> dict[str, Any]:
    """Parse and check the JSON of a model's architecture. The compile configuration is left out.

    Args:
      anew: converts the configuration to the form of Keras 3, before the check.

    Raises:
      ValueError: the text is not the JSON of a model, or names a class that is not on the allowlist.
    """
    text = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    # Each value after the first follows one of these characters. Names contain few of them.
    if len(text) > MAX_BYTES or sum(map(text.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise ValueError(
            f"its architecture has more than {MAX_VALUES:,} values or {MAX_BYTES:,} bytes; give a smaller model"
        )
    try:
        config = anew(json.loads(text))
    except (ValueError, RecursionError):
        raise ValueError("its architecture is not JSON; save the model again") from None
    check(config)
    return _uncompiled(config)


def check(config: Any) -> None:
    """Raise ValueError, naming the layer and the remedy, if `config` names a class that is not on the allowlist."""
    if not isinstance(config, dict) or config.get("class_name") in (None, *VALUES):
        raise ValueError("its architecture describes no model; save it with model.save() of Keras")
    for node, layer in _objects(config):
        name, module = node["class_name"], node.get("module")
        if _has_bare_activation(node):
            raise ValueError(_refusal("__lambda__", None, layer))
        if isinstance(name, str) and node.get("registered_name") in (None, name):
            if name in VALUES and module is None:
                continue
            if isinstance(module, str | None) and module in _allowed().get(name, ()):
                continue
        raise ValueError(_refusal(name, module, layer))
    if config["class_name"] not in MODELS:
        raise ValueError(f"it holds a {config['class_name']}, not a model; save the whole model")


def _has_bare_activation(node: dict[str, Any]) -> bool:
    # Keras writes a lambda activation as bare code, without the class name "__lambda__".
    inner = node.get("config")
    items = inner.items() if isinstance(inner, dict) else ()
    return any(
        "activation" in k and isinstance(v, dict) and "class_name" not in v for k, v in items
    )


def _objects(config: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every dict with a class name, and the name of its layer. Compile configurations are skipped."""
    stack: list[tuple[Any, str, int]] = [(config, "", 0)]
    while stack:
        node, layer, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise ValueError(
                f"its architecture is nested deeper than {MAX_DEPTH}; save a plainer model"
            )
        if isinstance(node, dict):
            if "class_name" in node:
                inner = node.get("config")
                # An initializer has no name, and the name of a dtype policy does not identify a layer.
                if (
                    isinstance(inner, dict)
                    and "name" in inner
                    and "Policy" not in str(node["class_name"])
                ):
                    layer = str(inner["name"])
                yield node, layer
            stack += [(v, layer, depth + 1) for k, v in reversed(node.items()) if k != COMPILED]
        elif isinstance(node, list):
            stack += [(value, layer, depth + 1) for value in reversed(node)]


@cache
def _allowed() -> dict[str, set[str | None]]:
    """Class name -> modules that a file may give for it. None means no module, as in files of Keras 2."""
    keras = backend.keras()
    allowed = {name: set(modules) for name, modules in MODELS.items()}
    classes = [("layers", getattr(keras.layers, name)) for name in LAYERS.split()]
    for kind, base in KINDS.items():
        public = vars(getattr(keras, kind))
        parent = public[base]
        classes += [
            (kind, c) for c in public.values() if isinstance(c, type) and issubclass(c, parent)
        ]
    for public_module, cls in classes:
        modules = allowed.setdefault(cls.__name__, {None, "keras"})
        modules |= {f"keras.{public_module}", cls.__module__}
    for module, names in OPERATIONS.items():
        for name in names.split():
            allowed.setdefault(name, set()).add(module)
    return allowed


def _uncompiled(node: Any) -> Any:
    # With compile=False, Keras still rebuilds the losses and metrics of a model inside the model.
    if isinstance(node, dict):
        return {key: _uncompiled(value) for key, value in node.items() if key != COMPILED}
    return [_uncompiled(value) for value in node] if isinstance(node, list) else node


def _refusal(name: Any, module: Any, layer: str) -> str:
    # Text from the file is shown by repr and shortened: it may hold control characters, or be very long.
    where = f"layer {layer!r:.60}" if layer else "the model"
    origin = f" of {module!r:.60}" if module else ""
    plain = str(name).rpartition(">")[2]
    remedy = WAYS_OUT.get(
        plain, f"build the model from Keras's own layers and save again; or, {TRUST}"
    )
    return f"{where} needs {name!r:.60}{origin}, which is code or is not of Keras, so it is not loaded; {remedy}"
