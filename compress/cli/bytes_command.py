"""`compress inspect --bytes`: what each byte of a `.tflite` file is used for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.cli import console
from compress.model_files.load import load_model
from compress.tflite import contents, ledger
from compress.tflite.model import TFLiteModel
from compress.tflite.runtime import lowest_runtime
from compress.tflite.xnnpack import xnnpack_share

STORED, UNPACKED = "in flash as stored", "after unpacking into RAM"


def inspect(file: Path, trust: bool, as_json: bool, **of_task: Any) -> None:
    """Show the size ledger of a `.tflite` file.

    Raises:
      ValueError: the file is not a `.tflite` file.
    """
    model = load_model(file, trust)
    if not isinstance(model, TFLiteModel):
        raise ValueError(
            f"{file} is not a .tflite file; --bytes needs one, as `compress run` writes it."
        )
    record = size_ledger(model)
    if as_json:
        console.say_json(record)
        return
    console.print_records(record["parts"])
    console.say("")
    console.print_records(record["tensors"])
    console.say("")
    taken = record["xnnpack"] or "an unknown number"
    console.print_pairs(
        {
            "runs on": _runs_on(record["lowest_runtime"]),
            "on a processor": f"XNNPACK takes {taken} of the operators, by LiteRT on this machine",
        }
    )


def size_ledger(model: TFLiteModel) -> dict[str, Any]:
    """The size ledger as plain data: "parts" of the file, "tensors" with sizes, lowest runtime and XNNPACK's share.

    The parts add up to the row "file". The rows after it are sizes that the content could have; "holds" says where.
    """
    stored = contents.stored_in(model.graph)
    coded = ledger.coded_bytes(model, stored)
    parts = {**ledger.file_parts(model), "file": len(model.content)}
    packed = {
        "file, gzip -9": ledger.gzip_bytes(model.content),
        "file, zstd -22": ledger.zstd_bytes(model.content),
        "file, xz -9e": coded["xz"],
        "weights and biases, entropy bound": coded["entropy"],
    }
    return {
        "parts": [
            *({"part": name, "bytes": size, "holds": STORED} for name, size in parts.items()),
            *({"part": name, "bytes": size, "holds": UNPACKED} for name, size in packed.items()),
        ],
        "tensors": [_tensor(number, each) for number, each in enumerate(stored, start=1)],
        "weights": ledger.weight_coding(stored),
        "lowest_runtime": lowest_runtime(model.graph),
        "xnnpack": _xnnpack(model),
    }


def _xnnpack(model: TFLiteModel) -> str | None:
    try:
        return xnnpack_share(model.content)
    except ValueError:
        return None  # LiteRT does not run every file that can be read here


def _tensor(number: int, stored: contents.StoredTensor) -> dict[str, Any]:
    size = ledger.tensor_size(stored)
    return {
        "tensor": stored.tensor.name or f"{stored.role} {number}",
        "operator": stored.operator.name,
        "dtype": stored.tensor.dtype,
        "shape": list(stored.tensor.shape),
        "numbers": size.numbers,
        "nonzero": size.nonzero,
        "distinct": size.distinct,
        "bytes": size.stored_bytes,
        "stored_bits": round(size.stored_bits, 2),
        "entropy_bits": round(size.entropy_bits, 2),
    }


def _runs_on(release: str | None) -> str:
    if release is None:
        return "not known: it has an operator, an operator version or a type of weights that is not listed here"
    return f"the runtime of TensorFlow {release} or later, by operators, their versions and types of weights"
