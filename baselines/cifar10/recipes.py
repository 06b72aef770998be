"""How to train the baseline CNN from scratch, and how to train it on."""

from __future__ import annotations

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
        # The horizon of BatchNormalization's own running statistics, so that weights and statistics agree.
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

# As the strong recipe ends: with its augmentation, smoothing and decay, so that a stage's training does not also change
# what is aimed at.
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
