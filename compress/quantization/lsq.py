"""LSQ: weights rounded in training to steps whose size is learned too (Esser et al. 2020)."""

from __future__ import annotations

import math
from typing import Any

from compress import backend
from compress.quantization.fake_quant import QMAX


def fake_quantized(w: Any, steps: Any, bits: int = 4) -> Any:
    """A kernel with each weight at a whole number of its channel's steps, between the smallest and the largest code.

    The gradient passes to weights inside the grid. With q = w / step, that of a step is the sum over its weights of
    round(q) - q inside the grid and of the largest code, with the sign of q, outside, times 1 / sqrt(n * largest code),
    n being the number of weights that share the step (Esser et al. 2020, equations 3 to 5 and section 2.2).

    Args:
      w: [..., o] or another layout of channels.
      steps: positive, in a shape that broadcasts to `w`.
    """
    ops = backend.keras().ops
    largest = QMAX[bits]
    n = math.prod(w.shape) // math.prod(steps.shape)
    slowed = steps * (1 / math.sqrt(n * largest))
    steps = slowed + ops.stop_gradient(steps - slowed)
    inside = ops.clip(w / steps, -largest, largest)
    return (inside + ops.stop_gradient(ops.round(inside) - inside)) * steps
