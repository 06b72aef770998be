"""Rounding of weights to 4-bit codes, and the kernels that are most sensitive to it. Arithmetic on arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

QMAX = 7  # codes -7 to 7: symmetric, so that zero is exact
# Grid ends that are tried for each channel, as fractions of its largest magnitude; 1 comes first.
ENDS = np.linspace(1, 0.3, 71)

# This fraction of the diagonal's mean is added to the diagonal: moments of zero or equal inputs have no inverse.
DAMPING = 0.01


def mse_scales(w: np.ndarray) -> np.ndarray:
    """For each output channel, the grid step with the least mean squared rounding error.

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
    """The kernel [..., o] with each weight rounded to -7 to 7 steps of its output channel's grid; zeros stay zero.

    Without moments, each weight is rounded to the nearest step. With moments, GPTQ (Frantar et al. 2022,
    https://arxiv.org/abs/2210.17323) rounds weights one after another, and later weights compensate the output error of
    the earlier ones. If GPTQ does not reduce a channel's output error, its weights are rounded to the nearest steps.

    Args:
      moments: float64 [n, n], the mean product of the inputs of two weights; n is the number of weights of one channel.

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
    """Weights [n, o] on their grids. Each weight compensates the errors of the earlier weights, then is rounded."""
    wanted, result, shares = rows.copy(), np.zeros_like(rows), _shares(moments)
    for index in range(len(rows)):
        result[index] = np.where(rows[index] == 0, 0, _on_grid(wanted[index], steps))
        error = (wanted[index] - result[index]) / shares[index, index]
        wanted[index + 1 :] -= np.outer(shares[index, index + 1 :], error)
    return result


def _output_mse(errors: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Mean squared change of each output [o] when its weights change by errors [n, o]."""
    return np.einsum("io,io->o", errors, moments @ errors)


def most_sensitive(
    mse: Mapping[str, float], sizes: Mapping[str, int], largest: float
) -> tuple[str, ...]:
    """The kernels to leave unrounded: in order of error per weight, largest first, each kernel that still fits.

    Args:
      mse: kernel name -> mean squared change of the model's outputs when this kernel alone is rounded.
      sizes: kernel name -> number of weights.
      largest: total number of weights that may stay unrounded.

    >>> most_sensitive({"a": 1.0, "b": 3.0, "c": 2.0}, {"a": 10, "b": 100, "c": 10}, 30)
    ('c', 'a')
    """
    chosen: list[str] = []
    for name in sorted(mse, key=lambda name: -mse[name] / sizes[name]):
        if sizes[name] + sum(sizes[c] for c in chosen) <= largest:
            chosen.append(name)
    return tuple(chosen)


def _shares(moments: np.ndarray) -> np.ndarray:
    """Upper triangular factor of the inverse of the moments: row i says how later weights share error i."""
    damped = moments + np.eye(len(moments)) * (DAMPING * np.diag(moments).mean() or 1)
    return np.linalg.cholesky(np.linalg.inv(damped)).T


def _on_grid(rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
    safe = np.where(steps > 0, steps, 1)
    return np.clip(np.rint(rows / safe), -QMAX, QMAX) * steps
