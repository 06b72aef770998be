"""Open untrusted files one by one and report the result and the memory of each; run by `opened`.

Arguments: a kind of file, a valid file of that kind, and the files to open, or "-" to read their names from standard
input. The program prints a line of JSON for each file.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Hard limits: a file far over the limits of the tests must not exhaust the machine or run forever.
MOST_BYTES, MOST_SECONDS = 2**33, 30


def _model(warm_up: Path) -> Callable[[Path], Any]:
    from compress.model_files.load import load_model

    load_model(warm_up)
    return load_model


def _tflite(warm_up: Path) -> Callable[[Path], Any]:
    from compress.tflite.contents import stored_params, stored_tensors

    def read(path: Path) -> int:
        return stored_params(stored_tensors(path.read_bytes()))

    read(warm_up)
    return read


def _npz(warm_up: Path) -> Callable[[Path], Any]:
    from compress.data.npz_images import read_arrays

    read_arrays(warm_up)
    return read_arrays


def _pickle(warm_up: Path) -> Callable[[Path], Any]:
    from compress.data.safe_pickle import load_dict

    def read(path: Path) -> Any:
        return load_dict(path.read_bytes(), str(path))

    read(warm_up)
    return read


def _image(warm_up: Path) -> Callable[[Path], Any]:
    from compress.data.image_file import read_images

    def read(path: Path) -> Any:
        return read_images([path])

    read(warm_up)
    return read


OPENERS = {"model": _model, "tflite": _tflite, "npz": _npz, "pickle": _pickle, "image": _image}


def memory(field: str) -> int:
    """Memory of this process in bytes: now ("VmRSS") or its peak since `forget_peak` ("VmHWM"); 0 except on Linux."""
    if sys.platform != "linux":
        return 0
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def forget_peak() -> None:
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")


def main(kind: str, warm_up: str, *paths: str) -> None:
    paths = tuple(sys.stdin.read().splitlines()) if paths == ("-",) else paths
    read = OPENERS[kind](Path(warm_up))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + MOST_BYTES,) * 2)
    seconds = int(time.process_time()) + MOST_SECONDS * (2 + len(paths))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    for path in map(Path, paths):
        forget_peak()
        before = memory("VmRSS")
        said, raised = "", ""
        try:
            read(path)
        except Exception as error:  # the test checks `mild`
            said, raised = str(error), type(error).__mro__[0].__name__
            mild = isinstance(error, ValueError | OSError)
        else:
            mild = True
        found = {"path": str(path), "raised": raised, "said": said, "mild": mild}
        print(json.dumps(found | {"taken": memory("VmHWM") - before}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
