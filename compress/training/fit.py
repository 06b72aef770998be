"""fit(): the one training loop, for Keras 3 and for tf_keras, resumable after kill -9."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from compress import backend
from compress.files import digest
from compress.rows.result import TrainedOn
from compress.training import losses as loss_terms
from compress.training.batches import check_augmentation, one_hot
from compress.training.checkpoint import Checkpoint, DamagedCheckpoint, assign
from compress.training.epoch_batches import epoch_batches
from compress.training.optimizer import optimizer_of, plateau_rate
from compress.training.precision import computing_in
from compress.training.progress import History, Progress
from compress.training.recipe import Recipe
from compress.training.seeding import seed_dropout, set_seed
from compress.training.training_data import TrainingData
from compress.training.weight_average import WeightAverage

# Version of what `fit` computes: batches, losses, optimizers, schedules. Raising it makes saved runs stale.
VERSION = 1


def fit(
    model: Any,
    recipe: Recipe,
    data: TrainingData,
    *,
    seed: int,
    title: str = "training",
    keras: Any = None,
    callbacks: Sequence[Any] = (),
    check: Callable[[History], None] = lambda history: None,
) -> History:
    """Train `model` in place and return one row per epoch.

    With `data.checkpoints` set, everything that the next epoch depends on is saved there after each epoch. The same
    call in a new process resumes after the last complete epoch. With `data.deterministic` it ends at the same weights.

    Args:
      model: of Keras 3, or of tf_keras if `keras` is that module. Gives logits, or probabilities if it ends in softmax.
      seed: decides the order and augmentation of images, and dropout.
      callbacks: Keras callbacks of the same Keras.
      check: called after each epoch with the rows so far. An exception that it raises ends the training.

    Returns:
      rows with epoch (from 1), loss, accuracy, cross_entropy, validation_accuracy, validation_cross_entropy,
      learning_rate and seconds. Training minimizes the loss; cross-entropies are without label smoothing.
    """
    if recipe.epochs == 0:
        return []
    check_augmentation(data.shown, recipe)
    check_choice(data.train_on, recipe)
    distillation = data.distillation
    keras = keras or backend.keras()
    set_seed(keras, seed, data.deterministic)
    seed_dropout(model, seed)
    batch = min(recipe.batch_size, len(data.shown))
    steps = len(data.shown) // batch
    model.compile(
        optimizer=optimizer_of(recipe, steps, keras),
        loss=loss_terms.loss(model, recipe, distillation, keras),
        metrics=loss_terms.metrics(model, keras),
        # XLA on a CPU is less than half as fast as TensorFlow's own kernels for small convolutions.
        jit_compile=False if backend.uses_tensorflow(keras) else "auto",
    )
    model.optimizer.build(model.trainable_variables)
    key = digest(
        {
            "recipe": recipe.changed_fields(),
            "seed": seed,
            "train": data.shown.digest,
            "validation": data.validation.digest,
            "variables": [str(v.shape) for v in model.variables],
        }
        | ({"distillation": distillation.spec()} if distillation else {})
        | ({} if data.precision == "float32" else {"precision": data.precision})
        | ({"answered_in": data.answered_in} if distillation and data.answered_in else {})
    )
    average = WeightAverage(model, recipe.weight_average) if recipe.weight_average else None
    state = Checkpoint(model, data.checkpoints, key, average.variables if average else ())
    try:
        state.restore()
    except DamagedCheckpoint as error:
        data.progress.note(f"{error}: training begins from the start.")
    done = len(state.history)
    if data.train_on != "train":
        data.progress.note(
            "validation images are trained on too: their accuracy selects no epoch, but may still undo a training or "
            "renew statistics"
        )
    data.progress.begin(title, recipe.epochs, steps, batch, done)
    if done < recipe.epochs:
        classes = model.output_shape[-1]
        with computing_in(data.precision, model, keras) as precision_callbacks:
            model.fit(
                epoch_batches(data, classes, recipe, seed, done),
                steps_per_epoch=steps,
                initial_epoch=done,
                epochs=recipe.epochs,
                validation_data=(
                    data.validation.images * np.float32(data.input_scale),
                    one_hot(data.validation.labels, classes),
                ),
                validation_batch_size=500,
                callbacks=[
                    *([average.callback(keras)] if average else []),
                    _watch(recipe, state, data.progress, keras, check),
                    *precision_callbacks,
                    *callbacks,
                ],
                shuffle=False,  # the generator shuffles
                verbose=0,
            )
    if average:
        average.place()
    if recipe.keep == "best":
        assign(model.variables, state.best)
    model.compile()  # a copy of a model also copies its loss, and ours may not be one of Keras's own
    return state.history


def check_choice(train_on: TrainedOn, recipe: Recipe) -> None:
    """Raise ValueError if a recipe chooses by validation results although it trains on the validation images."""
    for name, value in (("keep", "best"), ("schedule", "plateau")):
        if train_on != "train" and getattr(recipe, name) == value:
            raise ValueError(
                f"{name} = {value!r} chooses by validation images, and --train-on {train_on} trains on them: take "
                f"another recipe, or change it with --set {name}=VALUE."
            )


def _watch(
    recipe: Recipe,
    state: Checkpoint,
    progress: Progress,
    keras: Any,
    check: Callable[[History], None],
) -> Any:
    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.monotonic()
            if recipe.schedule == "plateau":
                losses = [r["validation_cross_entropy"] for r in state.history]
                self.model.optimizer.learning_rate = plateau_rate(losses, recipe.learning_rate)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            progress.step(batch + 1, float(logs["loss"]), float(logs["accuracy"]))

        def on_test_begin(self, logs: Any = None) -> None:
            state.see_validation()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            row = {
                "epoch": epoch + 1,
                "loss": float(logs["loss"]),
                "accuracy": float(logs["accuracy"]),
                "cross_entropy": float(logs["cross_entropy"]),
                "validation_accuracy": float(logs["val_accuracy"]),
                "validation_cross_entropy": float(logs["val_cross_entropy"]),
                "learning_rate": float(np.array(self.model.optimizer.learning_rate)),
                "seconds": round(time.monotonic() - self.began, 2),
            }
            state.save(row)
            progress.epoch(row)
            check(state.history)

    return Watch()
