"""LSQ: fake quantization of weights with learned step sizes (Esser et al. 2020)."""

from __future__ import annotations

import math
from typing import Any

from compress import backend
from compress.quantization.fake_quant import QMAX


def fake_quantized(w: Any, steps: Any, bits: int = 4) -> Any:
    """The kernel with each weight rounded to a whole number of its channel's steps, limited to the largest code.

    The gradient passes to weights inside the grid. Let q = w / step. The gradient of a step is a sum over its weights:
    round(q) - q for a weight inside the grid, and the largest code with the sign of q for a weight outside. The sum is
    multiplied by 1 / sqrt(n * largest code), where n is the number of weights that share the step (Esser et al. 2020,
    equations 3 to 5 and section 2.2).

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
