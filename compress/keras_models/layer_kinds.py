"""The table of kinds of Keras layers: all properties that follow from the class of a layer. A new kind is a new row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Kernel:
    """A kernel of a layer, and the negative indices of its channel axes. The other axes are positions."""

    attribute: str = "kernel"  # attribute of the layer that holds the kernel
    suffix: str = ""  # follows the layer's name in the name of the kernel
    inputs: int = -2
    outputs: int = -1
    depthwise: bool = False  # [..., c, m]: m output channels for each of c input channels


@dataclass(frozen=True)
class LayerKind:
    """The properties of a kind of layer: a row of the table. The defaults are those of an unknown kind."""

    # Its kernels in Keras's order, which is also the order in which they are applied. A bias may follow.
    kernels: tuple[Kernel, ...] = ()
    size: str = "filters"  # the option that sets the number of output channels
    # Multiply-accumulates: each weight of a kernel is used once at every position of the layer's output or input.
    macs_over: Literal["output", "input"] = "output"
    # Filter pruning: the rule in pruning/layer_rules that follows channels through the layer. None: there is no rule.
    channels: (
        Literal["filtered", "passed", "scaled", "merged", "joined", "flattened", "reshaped"] | None
    ) = None
    by_channel: tuple[str, ...] = ()  # attributes that hold one number per channel
    operation: bool = False  # the operation of the same name in `keras.ops` does the same
    # What the operation of the same name does with a tensor and a number. None: it takes no number.
    with_number: Literal["adds", "subtracts", "multiplies"] | None = None
    # Rewrites: how diagnosis/folding reads a scale and shift of each channel from the layer. None: it has none.
    affine: Literal["batchnorm", "normalization", "rescaling"] | None = None
    # The condition under which a scale and shift of its input channels can be moved after it. None: never.
    commutes: Literal["always", "scale not negative", "no shift", "flattened"] | None = None
    no_rewrite: str = ""  # the reason why no rewrite replaces the layer
    training_only: bool = False  # acts only in training, and a recipe can do the same
    moves_pixels: bool = False  # changes the positions of pixels, not their values
    # Its form in tf_keras: the layer of the same name, a dropout made by tfmot/keras2_layers, or an input. None: none.
    keras2: Literal["same", "dropout", "channel dropout", "input"] | None = None
    keras2_options: Mapping[str, str] = field(default_factory=dict)  # option -> tf_keras name
    keras2_operation: bool = False  # the operation of the same name becomes this layer
    # Quantization-aware training for int8: True if the layer supports it (int8), also with its own activation, and also
    # with a BatchNormalization right after it, which is folded into it. int8_way: what to use instead if it does not.
    int8: bool = False
    int8_activation: bool = False
    int8_norm: bool = False
    int8_way: str = ""
    # The range of its output in an int8 file: its own range, the range of its input, or one range shared with all its
    # inputs. None: fake quantization does not support the layer.
    int8_range: Literal["own", "input", "common"] | None = None
    fuses_relu: bool = False  # TFLite computes a ReLU after it in the same operator
    applied_by: Literal["conv", "conv_transpose", "depthwise_conv", "matmul"] = (
        "conv"  # the function in keras.ops that applies its kernel
    )
    int4: bool = False  # TFLite can compute with a 4-bit kernel
    # tfmot can cluster each of its output channels separately.
    clusters_by_channel: bool = False


DEPTHWISE = "/depthwise_kernel"
_PLAIN = (Kernel(),)
_TRANSPOSED = (Kernel(inputs=-1, outputs=-2),)
_DEPTHWISE = (Kernel(suffix=DEPTHWISE, depthwise=True),)
_SEPARABLE = (
    Kernel("depthwise_kernel", DEPTHWISE, depthwise=True),
    Kernel("pointwise_kernel", "/pointwise_kernel"),
)
_OWN_STATISTICS = (
    "each image has statistics of its own, which no fixed kernel has: "
    "train with BatchNormalization in its place"
)

# Keras 3 class name -> properties of the class. A kind that is not listed is skipped, or refused with its name.
KINDS: dict[str, LayerKind] = {
    "InputLayer": LayerKind(keras2="input"),
    # Kernels
    "Conv1D": LayerKind(
        _PLAIN, channels="filtered", keras2="same", int4=True,
        int8_way="use a Conv2D with a kernel of height 1", int8_range="own", fuses_relu=True,
    ),
    "Conv2D": LayerKind(
        _PLAIN, channels="filtered", keras2="same", int4=True, clusters_by_channel=True,
        int8=True, int8_activation=True, int8_norm=True, int8_range="own", fuses_relu=True,
    ),
    "Conv2DTranspose": LayerKind(
        # TFLite fuses no activation into it if its biases are zero.
        _TRANSPOSED, macs_over="input", channels="filtered", keras2="same", int8=True, int8_range="own",
        applied_by="conv_transpose",
    ),
    "DepthwiseConv2D": LayerKind(
        _DEPTHWISE, channels="filtered", keras2="same", int8=True, int8_activation=True, int8_norm=True,
        int8_range="own", fuses_relu=True, applied_by="depthwise_conv",
    ),
    "SeparableConv1D": LayerKind(
        _SEPARABLE, channels="filtered", keras2="same", int4=True,
        int8_way="use a SeparableConv2D with a kernel of height 1",
    ),
    "SeparableConv2D": LayerKind(
        _SEPARABLE, channels="filtered", keras2="same", int4=True,
        int8=True, int8_activation=True, int8_norm=True, int8_range="own",
    ),
    "Dense": LayerKind(
        _PLAIN, "units", channels="filtered", keras2="same", int4=True, int8=True, int8_activation=True,
        int8_range="own", fuses_relu=True, applied_by="matmul",
    ),
    # A scale and a shift of every channel, and similar layers
    "BatchNormalization": LayerKind(
        channels="passed", by_channel=("gamma", "beta", "moving_mean", "moving_variance"),
        affine="batchnorm", keras2="same", int8=True,
        no_rewrite="no kernel beside it can take it exactly: train with it right after a convolution or Dense",
        int8_range="own", fuses_relu=True,
    ),
    "Rescaling": LayerKind(
        channels="scaled", affine="rescaling", keras2="same", int8_way="scale the images before the model",
        int8_range="own",
    ),
    "Normalization": LayerKind(affine="normalization"),
    "GroupNormalization": LayerKind(no_rewrite=_OWN_STATISTICS),
    "LayerNormalization": LayerKind(
        keras2="same", no_rewrite=_OWN_STATISTICS,
        int8_way="use BatchNormalization directly after a convolution",
    ),
    "RMSNormalization": LayerKind(no_rewrite=_OWN_STATISTICS),
    "UnitNormalization": LayerKind(no_rewrite=_OWN_STATISTICS),
    # Activations
    "Activation": LayerKind(channels="passed", keras2="same", int8=True, int8_range="own"),
    "ELU": LayerKind(channels="passed", keras2="same"),
    "LeakyReLU": LayerKind(
        channels="passed", keras2="same", keras2_options={"negative_slope": "alpha"}, int8=True, int8_range="own",
    ),
    "PReLU": LayerKind(
        channels="passed", by_channel=("alpha",), keras2="same", int8_way="use ReLU or LeakyReLU",
        no_rewrite="its slopes are learnt for every position or channel: train with ReLU or LeakyReLU in its place",
    ),
    "ReLU": LayerKind(channels="passed", keras2="same", int8=True, int8_range="own"),
    "Softmax": LayerKind(keras2="same", int8=True, int8_range="own"),
    # Layers that act only in training
    "ActivityRegularization": LayerKind(channels="passed", training_only=True),
    "AlphaDropout": LayerKind(training_only=True),
    "Dropout": LayerKind(channels="passed", commutes="always", keras2="dropout", int8=True, int8_range="input"),
    "GaussianDropout": LayerKind(channels="passed", training_only=True),
    "GaussianNoise": LayerKind(channels="passed", training_only=True),
    "Identity": LayerKind(channels="passed", commutes="always", moves_pixels=True, int8_range="input"),
    "RandomBrightness": LayerKind(training_only=True),
    "RandomContrast": LayerKind(training_only=True),
    "RandomCrop": LayerKind(moves_pixels=True),
    "RandomFlip": LayerKind(training_only=True, moves_pixels=True),
    "RandomRotation": LayerKind(training_only=True, moves_pixels=True),
    "RandomTranslation": LayerKind(training_only=True, moves_pixels=True),
    "RandomZoom": LayerKind(training_only=True, moves_pixels=True),
    "SpatialDropout1D": LayerKind(channels="passed", commutes="always", keras2="channel dropout", int8_range="input"),
    "SpatialDropout2D": LayerKind(
        channels="passed", commutes="always", keras2="channel dropout", int8=True, int8_range="input",
    ),
    # Positions: pooled, repeated, cropped, padded
    "AveragePooling1D": LayerKind(channels="passed", commutes="always", keras2="same", int8_range="input"),
    "AveragePooling2D": LayerKind(channels="passed", commutes="always", keras2="same", int8=True, int8_range="input"),
    "CenterCrop": LayerKind(moves_pixels=True),
    "Cropping1D": LayerKind(channels="passed", commutes="always", keras2="same", int8_range="input"),
    "Cropping2D": LayerKind(channels="passed", commutes="always", keras2="same", int8=True, int8_range="input"),
    "GlobalAveragePooling1D": LayerKind(channels="passed", commutes="always", keras2="same", int8_range="own"),
    "GlobalAveragePooling2D": LayerKind(
        channels="passed", commutes="always", keras2="same", int8=True, int8_range="own",
    ),
    "GlobalMaxPooling1D": LayerKind(
        channels="passed", commutes="scale not negative", keras2="same", int8_range="input",
    ),
    "GlobalMaxPooling2D": LayerKind(
        channels="passed", commutes="scale not negative", keras2="same", int8=True, int8_range="input",
    ),
    "MaxPooling1D": LayerKind(channels="passed", commutes="scale not negative", keras2="same", int8_range="input"),
    "MaxPooling2D": LayerKind(
        channels="passed", commutes="scale not negative", keras2="same", int8=True, int8_range="input",
    ),
    "UpSampling1D": LayerKind(channels="passed", commutes="always", keras2="same", int8_range="input"),
    "UpSampling2D": LayerKind(channels="passed", commutes="always", keras2="same", int8=True, int8_range="input"),
    "ZeroPadding1D": LayerKind(channels="passed", commutes="no shift", keras2="same", int8_range="input"),
    "ZeroPadding2D": LayerKind(
        channels="passed", commutes="no shift", keras2="same", int8=True, moves_pixels=True, int8_range="input",
    ),
    # Axes: flattened, permuted
    "Flatten": LayerKind(channels="flattened", commutes="flattened", keras2="same", int8=True, int8_range="input"),
    "Permute": LayerKind(keras2="same", int8=True, int8_range="input"),
    "RepeatVector": LayerKind(keras2="same", int8_range="input"),
    "Reshape": LayerKind(channels="reshaped", keras2="same", int8=True, int8_range="input"),
    # Several tensors
    "Add": LayerKind(
        channels="merged", operation=True, with_number="adds", keras2="same", keras2_operation=True, int8=True,
        int8_range="own", fuses_relu=True,
    ),
    "Average": LayerKind(channels="merged", keras2="same"),
    "Concatenate": LayerKind(channels="joined", operation=True, keras2="same", int8=True, int8_range="common"),
    "Dot": LayerKind(keras2="same"),
    "Maximum": LayerKind(
        channels="merged", operation=True, keras2="same", keras2_operation=True, int8_range="common",
    ),
    "Minimum": LayerKind(
        channels="merged", operation=True, keras2="same", keras2_operation=True, int8_range="common",
    ),
    "Multiply": LayerKind(
        channels="merged", operation=True, with_number="multiplies", keras2="same", keras2_operation=True,
        int8_range="own",
    ),
    "Subtract": LayerKind(
        channels="merged", operation=True, with_number="subtracts", keras2="same", keras2_operation=True,
        int8_range="own",
    ),
    # Layers that cannot be read
    "Lambda": LayerKind(
        no_rewrite="its function cannot be read: use Keras layers (Rescaling, Activation, Reshape)",
    ),
}  # fmt: skip


def kind_of(layer: object) -> LayerKind:
    """The row of a layer or an operation, by the name of its class; a row of defaults if the class is not listed."""
    return KINDS.get(type(layer).__name__, _UNKNOWN)


_UNKNOWN = LayerKind()
