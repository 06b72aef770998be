"""fit(): the one training loop, for Keras 3 and for tf_keras, resumable after kill -9."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from compress import backend
from compress.files import digest
from compress.training import losses as loss_terms
from compress.training.batches import batches, one_hot, with_targets
from compress.training.checkpoint import Checkpoint, DamagedCheckpoint, History, Row, assign
from compress.training.weight_average import WeightAverage

if TYPE_CHECKING:
    from compress.tasks.task import TaskView


# Of what `fit` computes: batches, losses, optimizers, schedules. Raised with it, and kept trainings go stale.
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: with data, seed and architecture, everything that decides the weights."""

    summary: str
    epochs: int
    learning_rate: float  # the highest one
    batch_size: int = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: float = 0.9  # sgd only, Nesterov
    schedule: Literal["constant", "plateau", "cosine"] = "constant"
    warmup: float = 0.0  # fraction of all steps, linear from zero; cosine only
    weight_decay: float = 0.0  # decoupled, on kernels only
    label_smoothing: float = 0.0
    dropout: float = 1.0  # multiplies the architecture's own rates
    flip: bool = False  # mirror half of the images
    crop: int = 0  # pixels of reflected border from which a crop of the old size is taken
    # Highest momentum per step of the averaged weights that are validated and kept; 0: none.
    weight_average: float = 0.0
    keep: Literal["last", "best"] = "last"  # "best": the epoch of highest validation accuracy

    def changed_fields(self) -> dict[str, Any]:
        """What decides the weights and is not at its default; only that is in the key of a run."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name != "summary" and getattr(self, f.name) != f.default
        }


class Progress(Protocol):
    """Who is told how training goes. Told, never asked: training does not depend on it."""

    def begin(self, title: str, epochs: int, steps: int, batch_size: int, done: int) -> None:
        """Training of `epochs` epochs of `steps` steps begins, `done` epochs already being behind it."""

    def step(self, step: int, loss: float, accuracy: float) -> None:
        """A step is done; loss and accuracy are means over the epoch so far."""

    def epoch(self, row: Row) -> None:
        """An epoch is done and saved."""

    def note(self, sentence: str) -> None:
        """Something the user should know, in one line."""


def fit(
    model: Any,
    recipe: Recipe,
    task: TaskView,
    *,
    seed: int,
    title: str = "training",
    keras: Any = None,
    callbacks: Sequence[Any] = (),
) -> History:
    """Train `model` in place and return one row per epoch.

    With `task.checkpoints` set, everything the next epoch depends on is kept there after each epoch, so that the same
    call in a new process goes on from the last whole epoch; with `task.deterministic` it ends at the same weights.

    Args:
      model: of Keras 3, or of tf_keras if `keras` is that module; gives logits, or probabilities if it ends in softmax.
      seed: decides order and augmentation of images, and dropout.
      callbacks: Keras callbacks of the same Keras.

    Returns:
      rows with epoch (from 1), loss, accuracy, cross_entropy, validation_accuracy, validation_cross_entropy,
      learning_rate and seconds. The loss is what is minimised; cross-entropies are without label smoothing.
    """
    if recipe.epochs == 0:
        return []
    teaching = task.teaching
    keras = keras or backend.keras()
    set_seed(keras, seed, task.deterministic)
    _seed_dropout(model, seed)
    batch = min(recipe.batch_size, len(task.train))
    steps = len(task.train) // batch
    model.compile(
        optimizer=_optimizer(recipe, steps, keras),
        loss=loss_terms.loss(model, recipe, teaching, keras),
        metrics=loss_terms.metrics(model, keras),
        # XLA on a CPU is less than half as fast as TensorFlow's own kernels for small convolutions.
        jit_compile=False if backend.uses_tensorflow(keras) else "auto",
    )
    model.optimizer.build(model.trainable_variables)
    key = digest(
        {
            "recipe": recipe.changed_fields(),
            "seed": seed,
            "train": task.train.digest,
            "validation": task.validation.digest,
            "variables": [str(v.shape) for v in model.variables],
        }
        | ({"teaching": teaching.spec()} if teaching else {})
    )
    average = WeightAverage(model, recipe.weight_average) if recipe.weight_average else None
    state = Checkpoint(model, task.checkpoints, key, average.variables if average else ())
    try:
        state.restore()
    except DamagedCheckpoint as error:
        task.progress.note(f"{error}: training begins from the start.")
    done = len(state.history)
    task.progress.begin(title, recipe.epochs, steps, batch, done)
    if done < recipe.epochs:
        scale = task.task.input_scale
        drawn = batches(task.train, model.output_shape[-1], recipe, scale, seed, done)
        model.fit(
            with_targets(drawn, teaching.targets()) if teaching else drawn,
            steps_per_epoch=steps,
            initial_epoch=done,
            epochs=recipe.epochs,
            validation_data=(
                task.validation.images * np.float32(scale),
                one_hot(task.validation.labels, model.output_shape[-1]),
            ),
            validation_batch_size=500,
            callbacks=[
                *([average.callback(keras)] if average else []),
                _watch(recipe, state, task.progress, keras),
                *callbacks,
            ],
            shuffle=False,  # the generator has done it
            verbose=0,
        )
    if average:
        average.place()
    if recipe.keep == "best":
        assign(model.variables, state.best)
    model.compile()  # Keras copies what a model is compiled with too, and ours is no Keras object
    return state.history


def set_seed(keras: Any, seed: int, deterministic: bool) -> None:
    """Seed Python, numpy and the backend; `deterministic` also asks TensorFlow for one fixed order of additions."""
    keras.utils.set_random_seed(seed)
    if deterministic:
        backend.tensorflow().config.experimental.enable_op_determinism()


def _seed_dropout(model: Any, seed: int) -> None:
    """Start Keras 3's dropout from `seed`: a copied or loaded model has generators seeded by chance."""
    weights = {id(w) for w in model.weights}
    states = [v for v in model.variables if id(v) not in weights and tuple(v.shape) == (2,)]
    for number, state in enumerate(states):
        state.assign(np.array([seed, number], dtype="uint32"))


def plateau_rate(
    losses: Sequence[float], rate: float, factor: float = 0.5, patience: int = 5
) -> float:
    """The learning rate after these validation losses: cut by `factor` after each `patience` epochs without a new best.

    A function of the past alone, so that a resumed run needs no state for it. Not below 1e-5.

    >>> plateau_rate([3, 2, 2, 2, 2, 2], rate=1.0, patience=5)
    1.0
    >>> plateau_rate([3, 2, 2, 2, 2, 2, 2], rate=1.0, patience=5)
    0.5
    """
    best, waited = float("inf"), 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == patience:
            rate, waited = max(rate * factor, 1e-5), 0
    return rate


def _optimizer(recipe: Recipe, steps: int, keras: Any) -> Any:
    rate: Any = recipe.learning_rate
    total = steps * recipe.epochs
    warm = round(recipe.warmup * total)
    if recipe.schedule == "cosine" and warm:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, total - warm, warmup_target=rate, warmup_steps=warm
        )
    elif recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, total)
    settings: dict[str, Any] = {"learning_rate": rate, "weight_decay": recipe.weight_decay or None}
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=recipe.momentum, nesterov=True, **settings)
    else:
        optimizer = keras.optimizers.Adam(**settings)
    if recipe.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _watch(recipe: Recipe, state: Checkpoint, progress: Progress, keras: Any) -> Any:
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

    return Watch()
