"""The training that `training_speed.py` times, written in PyTorch: the same networks, batches, optimizer and averages.

`training_speed.py` starts it, with a Python that has torch and numpy. It needs no other library that compress needs.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from compress.data.dataset import Split
from compress.training.batches import batches
from compress.training.recipe import Recipe

RECIPE = Recipe(summary="As `strong` draws.", epochs=1, learning_rate=0.05, flip=True, crop=4)


def drawn_split(n: int) -> Split:
    """Random images and labels."""
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, n))


def plain() -> nn.Module:
    """`baselines.cifar10.networks.plain`, without dropout."""
    parts: list[nn.Module] = []
    inputs = 3
    for filters in (24, 48, 68):
        parts += [nn.Conv2d(inputs, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()]
        parts += [nn.Conv2d(filters, filters, 3, padding=1), nn.ReLU()]
        parts += [nn.MaxPool2d(2)] if filters != 68 else []
        inputs = filters
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(68, 120), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(120, 10))


class Block(nn.Module):
    """A residual block of `baselines.cifar10.networks.resnet`."""

    def __init__(self, inputs: int, filters: int, stride: int) -> None:
        super().__init__()

        def normalized(inputs: int, size: int, stride: int) -> nn.Module:
            convolution = nn.Conv2d(inputs, filters, size, stride, size // 2, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(filters))

        self.one, self.two = normalized(inputs, 3, stride), normalized(filters, 3, 1)
        self.shortcut = normalized(inputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(
            self.shortcut(x) + self.two(functional.relu(self.one(x), inplace=True))
        )


def r14() -> nn.Module:
    """`baselines.cifar10.networks.resnet.ResNet()`."""
    parts: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)]
    parts += [nn.ReLU(), Block(16, 16, 1), Block(16, 16, 1)]
    parts += [Block(16, 32, 2), Block(32, 32, 1), Block(32, 64, 2), Block(64, 64, 1)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def main(network: str, precision: str, steps: str) -> None:
    """Train `steps` steps for each line on standard input, and answer with wall and CPU seconds."""
    model = {"plain": plain, "r14": r14}[network]().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=2e-3
    )
    averages = [p.detach().clone() for p in model.parameters()]
    drawn: queue.Queue[Any] = queue.Queue(maxsize=4)

    def draw() -> None:
        for images, labels in batches(drawn_split(5120), 10, RECIPE, 1 / 255, 0, 0):
            drawn.put((torch.from_numpy(images), torch.from_numpy(labels)))

    threading.Thread(target=draw, daemon=True).start()  # so that drawing overlaps with training

    def step() -> None:
        images, labels = drawn.get()
        x = images.permute(0, 3, 1, 2)  # a view; in memory, channels stay last
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            scores = model(x)
        loss = functional.cross_entropy(scores.float(), labels, label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        torch._foreach_lerp_(averages, [p.detach() for p in model.parameters()], 0.01)

    for _ in range(5):
        step()
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(int(steps)):
            step()
        spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
