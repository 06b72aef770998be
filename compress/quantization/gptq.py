"""Rounding weights to 4-bit codes, and which kernels are most sensitive to it: arithmetic on arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

QMAX = 7  # codes -7 to 7: symmetric, so that zero is exact
# Ends tried for the grid of a channel, as fractions of its largest magnitude; 1 first.
ENDS = np.linspace(1, 0.3, 71)

DAMPING = 0.01  # of the mean of the diagonal, added to it: moments of zero or equal inputs have no inverse


def mse_scales(w: np.ndarray) -> np.ndarray:
    """The step of each output channel's grid with the least mean squared rounding error.

    A grid that ends below the largest weight clips that weight, and is finer for all others.

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

    Without moments each weight is rounded to the nearest step. With moments it is GPTQ (Frantar et al. 2022,
    https://arxiv.org/abs/2210.17323): weights are rounded one after another, and the later ones compensate the error in
    the outputs so far. A channel whose output error is not smaller by GPTQ is rounded to the nearest steps.

    Args:
      moments: float64 [n, n], n being the weights of one channel: mean product of the inputs of two weights.

    >>> rounded(np.array([[7.0], [3.4], [-1.6]], np.float32)).ravel().tolist()
    [7.0, 3.0, -2.0]

    The second and third weight always have equal inputs. One is rounded down by 0.4, so the other is rounded up:

    >>> equal = np.array([[1.0, 0, 0], [0, 1, 1], [0, 1, 1]])
    >>> rounded(np.array([[7.0], [3.4], [3.4]], np.float32), equal).ravel().tolist()
    [7.0, 3.0, 4.0]
    """
    steps = mse_scales(w)
    rows = w.reshape(-1, w.shape[-1]).astype(np.float64)
    result = _on_grid(rows, steps)
    if moments is not None:
        compensated = _gptq(rows, steps, moments)
        better = _output_mse(compensated - rows, moments) < _output_mse(result - rows, moments)
        result = np.where(better, compensated, result)
    return result.reshape(w.shape).astype(w.dtype)


def _gptq(rows: np.ndarray, steps: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Weights [n, o] on their grids, each rounded after it has compensated the errors of those before."""
    wanted, result, shares = rows.copy(), np.zeros_like(rows), _shares(moments)
    for index in range(len(rows)):
        result[index] = np.where(rows[index] == 0, 0, _on_grid(wanted[index], steps))
        error = (wanted[index] - result[index]) / shares[index, index]
        wanted[index + 1 :] -= np.outer(shares[index, index + 1 :], error)
    return result


def _output_mse(errors: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Mean squared change of each output [o] if its weights change by errors [n, o]."""
    return np.einsum("io,io->o", errors, moments @ errors)


def most_sensitive(
    mse: Mapping[str, float], sizes: Mapping[str, int], largest: float
) -> tuple[str, ...]:
    """The kernels to leave out of rounding: those with most error per weight first, each that still fits.

    Args:
      mse: kernel name -> mean squared change of the model's outputs when this kernel alone is rounded.
      sizes: kernel name -> number of weights.
      largest: number of weights that may be left out in all.

    >>> most_sensitive({"a": 1.0, "b": 3.0, "c": 2.0}, {"a": 10, "b": 100, "c": 10}, 30)
    ('c', 'a')
    """
    chosen: list[str] = []
    for name in sorted(mse, key=lambda name: -mse[name] / sizes[name]):
        if sizes[name] + sum(sizes[c] for c in chosen) <= largest:
            chosen.append(name)
    return tuple(chosen)


def _shares(moments: np.ndarray) -> np.ndarray:
    """Upper triangular factor of the inverse of the moments: row i tells how later weights share error i."""
    damped = moments + np.eye(len(moments)) * (DAMPING * np.diag(moments).mean() or 1)
    return np.linalg.cholesky(np.linalg.inv(damped)).T


def _on_grid(rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
    safe = np.where(steps > 0, steps, 1)
    return np.clip(np.rint(rows / safe), -QMAX, QMAX) * steps
