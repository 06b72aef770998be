"""Weights on a grid of few steps, and which layers bear it least: the arithmetic of storing kernels in 4 bits."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

QMAX = 7  # codes -7 to 7: symmetric, so that zero is exact
# Fractions of a channel's largest magnitude tried as the end of its grid, the whole of it first.
ENDS = np.linspace(1, 0.3, 71)

DAMPING = 0.01  # of the mean square of an input, added to all: inputs that are zero or equal have no inverse


def mse_scales(w: np.ndarray) -> np.ndarray:
    """The step of each output channel's grid at which rounding to it errs least, in squares.

    A grid that ends below the largest weight clips that one, and is finer for all others.

    Args:
      w: a kernel [..., o].

    Returns:
      float64 [o]; 0 where a channel is all zero. No step is more than the largest magnitude / 7.

    >>> mse_scales(np.array([[7.0, 0.0], [3.0, 0.0]]))
    array([1., 0.])
    """
    rows = w.reshape(-1, w.shape[-1]).astype(np.float64)
    largest = np.abs(rows).max(axis=0, initial=0)
    best, least = largest / QMAX, np.full(rows.shape[1], np.inf)
    for end in ENDS:
        steps = end * largest / QMAX
        error = np.square(_on_grid(rows, steps) - rows).sum(axis=0)
        best, least = np.where(error < least, steps, best), np.minimum(error, least)
    return best


def rounded(w: np.ndarray, moments: np.ndarray | None = None) -> np.ndarray:
    """A kernel [..., o] with each weight at -7 to 7 steps of its output channel's grid; a zero stays zero.

    Without moments each weight goes to the nearest step. With them weights are rounded one after another, and those to
    come make up for the error in the outputs so far: GPTQ (Frantar et al. 2022, https://arxiv.org/abs/2210.17323). A
    channel whose outputs would be nearer with the nearest steps gets those.

    Args:
      moments: float64 [n, n], n being the weights of one channel: mean product of the two inputs that two weights meet.

    >>> rounded(np.array([[7.0], [3.4], [-1.6]], np.float32)).ravel().tolist()
    [7.0, 3.0, -2.0]

    Where the second and third weight always meet equal inputs, what one was given too much the other gets less:

    >>> equal = np.array([[1.0, 0, 0], [0, 1, 1], [0, 1, 1]])
    >>> rounded(np.array([[7.0], [3.4], [3.4]], np.float32), equal).ravel().tolist()
    [7.0, 3.0, 4.0]
    """
    steps = mse_scales(w)
    rows = w.reshape(-1, w.shape[-1]).astype(np.float64)
    result = _on_grid(rows, steps)
    if moments is not None:
        minded = _one_after_another(rows, steps, moments)
        better = _output_mse(minded - rows, moments) < _output_mse(result - rows, moments)
        result = np.where(better, minded, result)
    return result.reshape(w.shape).astype(w.dtype)


def _one_after_another(rows: np.ndarray, steps: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Weights [n, o] on their grids, each rounded after the errors of those before were made up for."""
    wanted, result, shares = rows.copy(), np.zeros_like(rows), _shares(moments)
    for index in range(len(rows)):
        result[index] = np.where(rows[index] == 0, 0, _on_grid(wanted[index], steps))
        error = (wanted[index] - result[index]) / shares[index, index]
        wanted[index + 1 :] -= np.outer(shares[index, index + 1 :], error)
    return result


def _output_mse(errors: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Mean square by which each output [o] moves if its weights move by errors [n, o]."""
    return np.einsum("io,io->o", errors, moments @ errors)


def most_sensitive(
    mse: Mapping[str, float], sizes: Mapping[str, int], largest: float
) -> tuple[str, ...]:
    """The kernels to spare: those with most mse per weight first, each that still fits.

    Args:
      mse: kernel name -> what rounding it alone does to the model's output.
      sizes: kernel name -> number of weights.
      largest: number of weights that may be spared in all.

    >>> most_sensitive({"a": 1.0, "b": 3.0, "c": 2.0}, {"a": 10, "b": 100, "c": 10}, 30)
    ('c', 'a')
    """
    chosen: list[str] = []
    for name in sorted(mse, key=lambda name: -mse[name] / sizes[name]):
        if sizes[name] + sum(sizes[c] for c in chosen) <= largest:
            chosen.append(name)
    return tuple(chosen)


def _shares(moments: np.ndarray) -> np.ndarray:
    """Upper triangular factor of the inverse of the moments: row i is how later weights share the error of weight i."""
    damped = moments + np.eye(len(moments)) * (DAMPING * np.diag(moments).mean() or 1)
    return np.linalg.cholesky(np.linalg.inv(damped)).T


def _on_grid(rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
    safe = np.where(steps > 0, steps, 1)
    return np.clip(np.rint(rows / safe), -QMAX, QMAX) * steps
