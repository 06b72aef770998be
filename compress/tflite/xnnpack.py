"""Find how much of a `.tflite` file LiteRT runs on XNNPACK, its fast CPU kernels, on this machine."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal, get_args

from compress import backend
from compress.tflite import interpreter

Share = Literal["all", "some", "none"]


def xnnpack_share(content: bytes) -> Share:
    """Return whether XNNPACK takes all, some or none of the operators of a file. The check runs in a new process.

    Raises:
      ValueError: LiteRT refuses the file, or its process dies.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        interpreter.run_apart(__name__, folder)
        found = (folder / "share").read_text()
        return next(share for share in get_args(Share) if share == found)


def _share(content: bytes) -> Share:
    runner = backend.litert().Interpreter(model_content=content, num_threads=1)
    runner.allocate_tensors()
    operators = runner._get_ops_details()  # operators that a delegate took stay in the list
    delegates = [o for o in operators if o["op_name"] == "DELEGATE"]
    if not delegates:
        return "none"
    computed = {t for o in operators if o["op_name"] != "DELEGATE" for t in o["outputs"]}
    outputs = {d["index"] for d in runner.get_output_details()}
    first = delegates[0]
    # "all": one group of operators, which takes no results of other operators and gives all outputs.
    whole = len(delegates) == 1 and outputs <= set(first["outputs"])
    return "all" if whole and not computed & set(first["inputs"]) else "some"


def _main(folder: Path) -> None:
    content = (folder / "model.tflite").read_bytes()
    interpreter.limit_memory(content, threads=1)
    with interpreter.errors_as_exit():
        (folder / "share").write_text(_share(content))


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
