"""The estimate by Vela, Arm's compiler for Ethos-U, of a `.tflite` file. It is not a measurement."""

from __future__ import annotations

import csv
import importlib.util
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from compress.text import printable
from compress.tflite.flatbuffer import read

_SECONDS = 600
_COMPILED = "CUSTOM"  # the operator of a compiled file that the accelerator runs


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Vela's estimate for its default system of an accelerator."""

    system: str  # with its memories and clock, in Vela's words
    cycles: int  # for one input
    sram_bytes: int
    flash_bytes: int  # weights as Vela encodes them, and commands
    npu_operators: int  # as Vela counts them after it has fused and split some
    cpu_operators: dict[str, int]  # operator that is left to the processor -> how many of it


def check() -> None:
    """Raise ValueError, with the command that helps, unless Vela is installed."""
    if importlib.util.find_spec("ethosu") is None:
        raise ValueError(
            "an Ethos-U target needs Vela, which is not installed: pip install 'compress-cnn[ethos-u]'."
        )


def estimate(content: bytes, accelerator: str) -> Estimate:
    """Compile a file for an accelerator, such as "ethos-u55-128", in a separate process.

    Raises:
      ValueError: Vela does not compile the file, or its process dies; the file is damaged; or Vela is not installed.
    """
    check()
    for operator in read(content).operators:
        for tensor in operator.inputs:
            # Vela crashes on 4-bit weights instead of refusing them.
            if tensor is not None and len(tensor.data) and tensor.dtype == "int4":
                raise _refusal("it has int4 weights, and Ethos-U takes int8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        words = ["model.tflite", "--accelerator-config", accelerator, "--output-dir", "out"]
        command = [sys.executable, "-P", "-m", "ethosu.vela", *words]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise _refusal(f"it took more than {_SECONDS} seconds") from None
        if done.returncode:
            raise _refusal(_why(done))
        (summary,) = (folder / "out").glob("model_summary_*.csv")
        (record,) = csv.DictReader(summary.read_text().splitlines())
        compiled = read((folder / "out" / "model_vela.tflite").read_bytes())
        left = Counter(o.name for o in compiled.operators if o.name != _COMPILED)
        return _estimate(record, done.stdout.decode(errors="replace"), dict(left))


def _estimate(record: dict[str, str], said: str, left: dict[str, int]) -> Estimate:
    npu = re.search(r"^NPU operators = (\d+)", said, re.MULTILINE)
    if npu is None:
        raise _refusal("it printed no summary; this release of Vela is not supported")
    flash = float(record["off_chip_flash_memory_used"]) + float(record["on_chip_flash_memory_used"])
    clock = float(record["core_clock"]) / 1e6
    return Estimate(
        system=f"{record['system_config']}, {record['memory_mode']}, {clock:.0f} MHz",
        cycles=int(float(record["cycles_total"])),
        sram_bytes=round(float(record["sram_memory_used"]) * 1024),
        flash_bytes=round(flash * 1024),
        npu_operators=int(npu[1]),
        cpu_operators=left,
    )


def _refusal(why: str) -> ValueError:
    return ValueError(f"Vela cannot compile this TFLite file: {why}; export the model in int8.")


def _why(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode < 0:
        return f"it died of signal {-done.returncode}"
    lines = [s for s in done.stderr.decode(errors="replace").splitlines() if s.strip()]
    return printable(lines[-1] if lines else "it gave no reason").strip(" .")
