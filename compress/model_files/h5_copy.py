"""Copy an untrusted HDF5 file in a separate process with limited memory and time.

The native code of HDF5 trusts the lengths and addresses in a file: a wrong length makes it allocate gigabytes, a wrong
address can make it loop. Only a second parser could find all these errors beforehand. So a process that the operating
system limits reads the file first. Later code reads the copy that h5py wrote in that process.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_DEPTH = 64  # of groups; each model inside the model needs two
# Memory of a process for h5py, small arrays, and the tables and buffers of HDF5.
_MEMORY_BYTES = 2**28
_SECONDS, _BYTES_PER_SECOND = 2, 10_000_000
_REFUSED = 3  # exit status
# Exceptions that h5py raises for a damaged file.
_DAMAGED = (
    OSError, RuntimeError, LookupError, TypeError, ValueError, MemoryError, AttributeError, ArithmeticError,
)  # fmt: skip


class _Refused(Exception):
    """The file is intact, but holds something that is refused."""


def copy(source: Path, clean: Path, max_bytes: int) -> int:
    """Copy the groups, arrays and texts of an HDF5 file, uncompressed. Returns the number of array elements.

    Args:
      max_bytes: maximum number of bytes of all arrays together, unpacked.

    Raises:
      ValueError: the file is damaged, refers to other files, holds data other than plain numbers, or is too large.
    """
    command = [sys.executable, "-P", "-m", __name__, str(source), str(clean), str(max_bytes)]
    path = os.pathsep.join(p for p in sys.path if p)
    # Each thread of numpy's linear algebra would take memory, and none is needed.
    environment = os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    if process.returncode == _REFUSED:
        raise ValueError(process.stdout.decode())
    if process.returncode:
        raise ValueError(
            "its HDF5 is damaged, or takes more memory or time than a file of its size should; copy it again, or save "
            "the model again"
        )
    return int(process.stdout)


def _set_limits(source: Path, max_bytes: int) -> None:
    limits = {
        resource.RLIMIT_CPU: _SECONDS + source.stat().st_size // _BYTES_PER_SECOND,
        resource.RLIMIT_FSIZE: _MEMORY_BYTES + max_bytes,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "linux":  # macOS does not limit memory, and raises an error
        limits[resource.RLIMIT_AS] = _MEMORY_BYTES + 2 * max_bytes
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def _copy(source: Path, clean: Path, max_bytes: int) -> int:
    import h5py

    numbers = size_bytes = 0
    with h5py.File(source, "r") as old, h5py.File(clean, "w") as new:
        made = {old["/"]: new["/"]}  # each object once, even if several links lead to it
        _copy_attributes(old["/"], new["/"])
        waiting = [(old["/"], new["/"], "", 0)]
        while waiting:
            group, into, where, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise _Refused(
                    f"its groups are nested deeper than {MAX_DEPTH}; save a plainer model"
                )
            for name, item in _items(group, where):
                if item in made:
                    into[name] = made[item]
                    continue
                place = f"{where}/{name}".removeprefix("/")
                if isinstance(item, h5py.Group):
                    made[item] = into.create_group(name)
                    waiting.append((item, made[item], place, depth + 1))
                elif isinstance(item, h5py.Dataset):
                    _check_array(item, place)
                    numbers += item.size
                    size_bytes += item.size * item.dtype.itemsize
                    if size_bytes > max_bytes:
                        raise _Refused(
                            f"its arrays unpack to over {max_bytes:,} bytes; give a smaller model, or save this one "
                            "without compression"
                        )
                    made[item] = into.create_dataset(name, data=item[()])
                else:
                    continue  # a named data type
                _copy_attributes(item, made[item])
    return numbers


def _items(group: Any, where: str) -> Iterator[tuple[str, Any]]:
    import h5py

    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise _Refused(
                f"{f'{where}/{name}'!r:.60} is a link to elsewhere; save the model again"
            )
        yield name, group[name]


def _check_array(array: Any, where: str) -> None:
    if array.external or array.is_virtual:
        raise _Refused(f"array {where!r:.60} is read from another file; save the model again")
    if array.dtype.kind not in "biuf" or array.shape is None:
        raise _Refused(f"array {where!r:.60} holds {str(array.dtype)!r:.60}; expected numbers")


def _copy_attributes(old: Any, new: Any) -> None:
    """Copy attributes with texts or numbers, which are all that Keras writes. Other attributes are left out."""
    import h5py

    for name in old.attrs:
        kind = old.attrs.get_id(name).dtype
        if kind.kind in "biufS" or h5py.check_string_dtype(kind):
            new.attrs[name] = old.attrs[name]


def _main(source: Path, clean: Path, max_bytes: int) -> None:
    _set_limits(source, max_bytes)
    try:
        output, status = str(_copy(source, clean, max_bytes)), 0
    except _Refused as refused:
        output, status = str(refused), _REFUSED
    except BlockingIOError:
        output, status = "another process is writing to it; wait until that is done", _REFUSED
    except _DAMAGED:
        output, status = "", 1
    os.write(1, output.encode())
    sys.exit(status)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
