"""The cost of each precision of a kernel, and the choice of 4-bit kernels for a size budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from baselines.toy import Toy
from compress import backend
from compress.cli.main import cli
from compress.findings import CannotTreat
from compress.keras_models.model import KerasModel
from compress.model_files.load import load_model
from compress.quantization import int4
from compress.quantization.sensitivity import KernelCost, cost_table, kernel_costs, least_noise
from compress.stages.qat import Qat
from compress.tasks.view import TaskView
from compress.tflite import contents
from conftest import Silent
from support.tiny_task import Tiny, drawn, residual

SCALE = np.float32(1 / 255)


@pytest.fixture(scope="module")
def model() -> KerasModel:
    return residual()


@pytest.fixture(scope="module")
def costs(model: KerasModel) -> list[KernelCost]:
    before = model.digest
    images, seen = drawn(0).images * SCALE, drawn(1)
    found = kernel_costs(model, images, seen.images * SCALE, seen.labels, int4.possible(model))
    assert model.digest == before
    return found


def test_four_bits_have_more_noise_than_eight_and_are_listed_where_possible(
    model: KerasModel, costs: list[KernelCost]
) -> None:
    noise = {(cost.kernel, cost.bits): cost.noise for cost in costs}
    assert [name for name, bits in noise if bits == 8] == list(model.kernels())
    assert [name for name, bits in noise if bits == 4] == [
        "first",
        "separable/pointwise_kernel",
        "scores",
    ]
    assert all(0 < noise[name, 8] < noise[name, bits] for name, bits in noise if bits == 4)


def test_noise_and_loss_are_measured_with_only_this_kernel_rounded(
    model: KerasModel, costs: list[KernelCost]
) -> None:
    images, seen = drawn(0).images * SCALE, drawn(1)
    rounded = int4.fake_quantized(model, ["scores"], images)
    exact, outputs = (
        np.array(m.keras(seen.images * SCALE, training=False)) for m in (model, rounded)
    )
    (cost,) = (c for c in costs if (c.kernel, c.bits) == ("scores", 4))
    assert cost.noise == pytest.approx(np.mean((outputs - exact) ** 2), rel=1e-4)
    signal = 10 * np.log10(np.mean(exact**2) / cost.noise)
    assert cost.sqnr_db == pytest.approx(signal, rel=1e-4)
    loss = backend.keras().losses.SparseCategoricalCrossentropy(from_logits=True)
    more = float(loss(seen.labels, outputs)) - float(loss(seen.labels, exact))
    assert cost.more_loss == pytest.approx(more, abs=1e-6)
    assert cost.weight_bytes == model.kernels()["scores"].size // 2


def test_a_kernel_without_rounding_error_has_no_sqnr_in_the_table() -> None:
    exact = KernelCost(
        kernel="a", bits=8, weight_bytes=3, more_loss=0.0, noise=0.0, sqnr_db=float("inf")
    )
    assert cost_table([exact]) == [
        {
            "kernel": "a", "bytes_8": 3, "more_loss_8": 0.0, "sqnr_db_8": None, "bytes_4": None,
            "more_loss_4": None, "sqnr_db_4": None,
        }
    ]  # fmt: skip


def test_least_noise_chooses_all_kernels_if_they_do_not_save_enough() -> None:
    assert least_noise({"a": 1.0, "b": 2.0}, {"a": 10, "b": 10}, 100) == ["a", "b"]
    assert least_noise({"a": 1.0}, {"a": 10}, 0) == []


def qat(model: KerasModel, **options: Any) -> tuple[bytes, dict[str, Any]]:
    view = TaskView(Tiny(), drawn(0), drawn(1), None, Silent(), deterministic=True)
    stage = Qat(bits="auto", epochs=1, learning_rate=0.01, calibration=64, **options)
    return stage.apply(model, view, seed=1).content, view.recorded


def test_bits_auto_gives_4_bits_to_the_kernel_with_the_least_noise(
    model: KerasModel, costs: list[KernelCost]
) -> None:
    fine, recorded = qat(model, max_bytes=1_000_000)
    assert set(recorded["bits"].values()) == {8}
    less, recorded = qat(model, max_bytes=len(fine) - 40)
    assert len(less) <= len(fine) - 40
    chosen = {name for name, bits in recorded["bits"].items() if bits == 4}
    noise = {cost.kernel: cost.noise for cost in costs if cost.bits == 4}
    enough = {name for name in noise if model.kernels()[name].size // 2 >= 40}
    assert chosen == {min(enough, key=lambda name: noise[name])}
    assert [kernel.dtype for kernel in contents.kernels(less)].count("int4") == 1


def test_a_budget_below_every_file_is_refused_with_the_smallest_possible_one(
    model: KerasModel,
) -> None:
    with pytest.raises(CannotTreat, match="no file of this model fits into 100 bytes") as error:
        Qat(bits="auto", max_bytes=100).check(model)
    least = int(str(error.value).split("it has ")[1].split(":")[0])
    assert f"give --max-bytes {least} or more" in str(error.value)
    assert isinstance(Qat(bits="auto", max_bytes=least).check(model), list)
    with pytest.raises(CannotTreat):
        Qat(bits="auto", max_bytes=least - 1).check(model)


@pytest.mark.parametrize("options", [{"bits": "auto"}, {"max_bytes": 5000}])
def test_bits_auto_and_max_bytes_must_be_given_together(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="qat: option 'max_bytes' goes with bits auto"):
        Qat(**options)


def test_inspect_shows_the_cost_of_each_precision(tmp_path: Path) -> None:
    path = Toy().baseline_path()
    assert path is not None
    words = ["inspect", str(path), "--sensitivity", "--task", "toy"]
    asked = CliRunner().invoke(cli, [*words, "--json"])
    assert asked.exit_code == 0, asked.output
    table = json.loads(asked.stdout)
    assert all(row["bytes_4"] < row["bytes_8"] for row in table if row["bytes_4"])
    assert all(row["sqnr_db_4"] < row["sqnr_db_8"] for row in table if row["bytes_4"])
    shown = CliRunner().invoke(cli, words)
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [
        row["kernel"] for row in table
    ]
    finished = tmp_path / "model.tflite"
    load_model(path).to_tflite().save(finished)
    refused = CliRunner().invoke(cli, ["inspect", str(finished), *words[2:]])
    assert refused.exit_code == 1
    assert (
        "is finished: --sensitivity takes the .keras or .h5 model it was made of." in refused.output
    )
