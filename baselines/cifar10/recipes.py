"""Recipes: how to train each network for CIFAR-10 from scratch, and how to fine-tune the baseline CNN."""

from __future__ import annotations

from compress.training.param_groups import ParamGroup
from compress.training.recipe import Recipe

RECIPES = {
    "strong": Recipe(
        summary="Crop and flip, SGD on a cosine with warm-up, no dropout, averaged weights.",
        epochs=120,
        batch_size=128,
        optimizer="sgd",
        learning_rate=0.1,
        momentum=0.9,
        schedule="cosine",
        warmup=0.05,
        weight_decay=2e-3,
        label_smoothing=0.05,
        dropout=0.0,
        flip=True,
        crop=4,
        # The same as the momentum of BatchNormalization's statistics, so that averaged weights and statistics match.
        weight_average=0.99,
    ),
    "published": Recipe(
        summary="The published protocol: Adam, reduce on plateau, batch 32, best epoch by validation accuracy.",
        epochs=100,
        batch_size=32,
        optimizer="adam",
        learning_rate=1e-3,
        schedule="plateau",
        keep="best",
    ),
}

RESNET_RECIPES = {
    "strong": Recipe(
        summary="Crop and flip, SGD on a cosine with warm-up, averaged weights.",
        epochs=120,
        batch_size=128,
        optimizer="sgd",
        learning_rate=0.1,
        momentum=0.9,
        schedule="cosine",
        warmup=0.05,
        # Without a teacher the network overfits. At momentum 0.9 this is the usual L2 penalty of 3e-4.
        weight_decay=3e-3,
        label_smoothing=0.05,
        flip=True,
        crop=4,
        weight_average=0.99,
    ),
}

# Source: KellerJordan/cifar10-airbench, legacy/airbench94.py. It sums the loss over a batch of 1,024 and states a
# learning rate of 11.5 and a weight decay of 0.0153 as they would be without momentum. Here the loss is a mean, and
# both are values that the optimizer takes: Nesterov momentum m moves weights 1 + 1 / (1 - m) times as far, and the
# weight decay is an L2 penalty, which passes through momentum. Epochs, crop and label smoothing are for a teacher: the
# source trains for 9.9 epochs with a crop of 2 pixels and label smoothing of 0.2, but a teacher trained with label
# smoothing teaches worse (Mueller et al. 2019, https://arxiv.org/abs/1906.02629).
_MOMENTUM = 0.85
_L2 = 0.0153 / 11.5  # 1.33e-3
_SHIFT_RATE = 64.0  # factor on the learning rate of BatchNormalization's shifts, which is then 96
AIRBENCH_RECIPES = {
    "teacher": Recipe(
        summary="Nesterov in three parameter groups on a triangle, alternating flip and crop: for a teacher.",
        epochs=20,
        batch_size=1024,
        optimizer="sgd",
        learning_rate=11.5 / (1 + 1 / (1 - _MOMENTUM)),  # 1.5
        momentum=_MOMENTUM,
        schedule="triangular",
        warmup=0.23,
        start=0.2,
        end=0.07,
        param_groups=(
            ParamGroup(end="whiten/bias", l2=_L2, epochs=3),
            # Shifts decay as fast as all other weights: learning rate times L2 is the same.
            ParamGroup(end="/beta", learning_rate=_SHIFT_RATE, l2=_L2 / _SHIFT_RATE),
            ParamGroup(l2=_L2),
        ),
        alternating_flip=True,
        crop=4,
    ),
}

# Augmentation, label smoothing and weight decay are those of the strong recipe, so that the training of a stage does
# not also change the training objective.
FINETUNING = Recipe(
    summary="Train a trained model on: SGD on a cosine, the strong recipe's augmentation and smoothing.",
    epochs=1,
    batch_size=128,
    optimizer="sgd",
    learning_rate=0.02,
    momentum=0.9,
    schedule="cosine",
    weight_decay=2e-3,
    label_smoothing=0.05,
    flip=True,
    crop=4,
)
