"""Arithmetic of magnitude pruning: the weights to drop, and the training steps at which masks are updated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# Mask updates until full sparsity. More updates made no measured difference, and each update sorts every kernel.
UPDATES = 25


def magnitude_mask(w: np.ndarray, sparsity: float) -> np.ndarray:
    """Mask of the weights to keep: the `round(sparsity * w.size)` smallest weights by magnitude are dropped.

    Args:
      w: any shape. Among equal magnitudes, the earlier weights in memory order are dropped first.
      sparsity: in [0, 1]. 0 keeps all, 1 keeps none.

    Returns:
      bool, shape of `w`.

    >>> magnitude_mask(np.array([3.0, -1.0, 2.0, -4.0]), 0.5)
    array([ True, False, False,  True])
    """
    return without_smallest(w, round(sparsity * w.size))


def without_smallest(w: np.ndarray, drops: int) -> np.ndarray:
    """Mask of the weights to keep, bool, shape of `w`: the `drops` smallest by magnitude are dropped."""
    mask = np.ones(w.size, dtype=bool)
    # Stable sort: with ties, the same weights go on every machine.
    mask[np.argsort(np.abs(w), axis=None, kind="stable")[:drops]] = False
    return mask.reshape(w.shape)


def in_random_order(kernels: Mapping[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Random magnitudes from 1 to 2 for the weights of each kernel; 0 for weights that are zero.

    >>> in_random_order({"a": np.array([0.0, 5.0, 0.1])}, seed=0)["a"].round(2).tolist()
    [0.0, 1.27, 1.04]
    """
    rng = np.random.default_rng(seed)
    return {name: np.where(w == 0, 0, rng.uniform(1, 2, w.shape)) for name, w in kernels.items()}


def lamp_scores(w: np.ndarray) -> np.ndarray:
    """LAMP score of each weight: its square divided by the sum of squares of the weights of `w` that are not smaller.

    From Lee et al. 2021 (https://arxiv.org/abs/2010.07611). The score compares weights of different kernels. It
    orders the weights of one kernel by magnitude, does not change if the kernel is multiplied by a factor, and is 1 for
    the largest weight of every kernel.

    Returns:
      float64, shape of `w`, in [0, 1]; 0 for weights that are zero.

    >>> lamp_scores(np.array([3.0, 0.0, -4.0])).tolist()
    [0.36, 0.0, 1.0]
    """
    order = np.argsort(np.abs(w), axis=None, kind="stable")
    largest = np.abs(w).max(initial=0) or 1
    squares = np.square(w.astype(np.float64) / largest).ravel()[order]
    scores = np.zeros(w.size)
    scores[order] = np.divide(
        squares, np.cumsum(squares[::-1])[::-1], out=np.zeros(w.size), where=squares > 0
    )
    return scores.reshape(w.shape)


def drops_by_layer(kernels: Mapping[str, np.ndarray], sparsity: float) -> dict[str, int]:
    """Kernel name -> how many of its smallest weights to drop: `round(sparsity * size)`.

    >>> drops_by_layer({"a": np.ones(10), "b": np.ones(4)}, 0.5)
    {'a': 5, 'b': 2}
    """
    return {name: round(sparsity * w.size) for name, w in kernels.items()}


def drops_overall(kernels: Mapping[str, np.ndarray], sparsity: float) -> dict[str, int]:
    """Kernel name -> how many of its smallest weights to drop, by one threshold of `lamp_scores` for all kernels.

    The numbers add up to `round(sparsity * size)` of all kernels together. At least one weight of each kernel is kept.

    Raises:
      ValueError: the sparsity is so high that a kernel would lose all its weights.

    >>> drops_overall({"a": np.array([1.0, 1.0, 1.0, 1.0]), "b": np.array([9.0, 0.1, 0.2, 0.1])}, 0.5)
    {'a': 1, 'b': 3}
    """
    drops = round(sparsity * sum(w.size for w in kernels.values()))
    # The largest weight of each kernel, which has score 1, is never dropped.
    candidates = {name: np.sort(lamp_scores(w), axis=None)[:-1] for name, w in kernels.items()}
    owners = np.repeat(np.arange(len(kernels)), [c.size for c in candidates.values()])
    if drops > owners.size:
        raise ValueError(
            f"a sparsity of {sparsity} over {len(kernels)} kernels would leave one of them without weights."
        )
    scores = np.concatenate([*candidates.values(), []])
    dropped = owners[np.argsort(scores, kind="stable")[:drops]]
    counts = np.bincount(dropped, minlength=len(kernels))
    return {name: int(count) for name, count in zip(kernels, counts, strict=True)}


def lacking_zeros(kernels: Mapping[str, np.ndarray], sparsity: float, together: bool) -> list[str]:
    """A sentence for each kernel that is less sparse than asked; one sentence for all kernels if they count together.

    >>> lacking_zeros({"a": np.array([0.0, 1.0, 2.0, 3.0])}, 0.5, together=False)
    ['a has 1 zeros in 4 weights, expected 2']
    """
    asked = drops_by_layer(kernels, sparsity)
    zeros = {name: int(np.sum(w == 0)) for name, w in kernels.items()}
    sizes = {name: w.size for name, w in kernels.items()}
    if together:
        whole = f"all of {', '.join(kernels)}"
        sizes = {whole: sum(sizes.values())}
        zeros, asked = {whole: sum(zeros.values())}, {whole: round(sparsity * sizes[whole])}
    return [
        f"{name} has {zeros[name]} zeros in {sizes[name]} weights, expected {asked[name]}"
        for name in asked
        if zeros[name] < asked[name]
    ]


def sparsity_ramps(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> dict[str, tuple[float, float]]:
    """First and last sparsity of the ramp of each kernel that gets more zeros.

    >>> sparsity_ramps({"a": np.ones(4), "b": np.ones(4)}, {"a": np.zeros(4), "b": np.ones(4)})
    {'a': (0.0, 0.9375)}
    """
    zeros = {
        name: (int(np.sum(w == 0)), int(np.sum(after[name] == 0))) for name, w in before.items()
    }
    # A quarter of a weight less, so that float32 rounding in tfmot never drops one weight too many.
    return {
        name: (first / before[name].size, (last - 0.25) / before[name].size)
        for name, (first, last) in zeros.items()
        if last > first
    }


def ramp_steps(begin: float, end: float, total: int) -> tuple[int, int, int]:
    """First step, last step and frequency of mask updates, such that the last step is an update.

    Args:
      begin, end: fractions of the training, begin < end.
      total: steps of the training, at least 1; the first is number 1.

    Returns:
      begin_step, end_step, frequency with begin_step < end_step <= total. The frequency divides end_step - begin_step:
      tfmot updates only at multiples of the frequency, and would otherwise stop below the final sparsity.

    >>> ramp_steps(0.0, 0.4, total=664)
    (0, 260, 10)
    >>> ramp_steps(0.0, 0.4, total=1)
    (0, 1, 1)
    """
    first = min(round(begin * total), total - 1)
    last = max(round(end * total), first + 1)
    frequency = max(1, (last - first) // UPDATES)
    return first, last - (last - first) % frequency, frequency
