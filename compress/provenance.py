"""Where a row came from: commit, versions, machine, peak memory, and digests of the code that computed it."""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import resource
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
DISTRIBUTIONS = (
    "compress-cnn",
    "tensorflow",
    "keras",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "numpy",
)
# What a stage's weights depend on besides its own file.
COMPUTING = (
    "backend checkpoint layers model stage task tfmot_bridge train twin_layers".split()  # noqa: SIM905
)


@cache
def commit() -> str:
    """The git commit of the source tree this package runs from; "+changes" if the code in it differs.

    Outside a checkout, the commit the package was built from; "unknown" if that was not stamped either.
    """
    tracked = _git("ls-files", "--error-unmatch", "compress/provenance.py")
    if tracked is not None:
        head = _git("rev-parse", "HEAD") or "unknown"
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", "compress", "baselines")
        return head + ("+changes" if changed else "")
    try:
        from compress import _version
    except ImportError:
        return "unknown"
    return (getattr(_version, "__commit_id__", None) or "unknown").removeprefix("g")


def _git(*words: str) -> str | None:
    """What git prints in the folder above this package; None if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE.parent), *words], capture_output=True, text=True, check=False
        )
    except OSError:  # no git here
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Version of Python and of each distribution that numbers depend on; none of them is imported."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> str:
    """Processor, number of cores this process may use, and memory in GB."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{processor}, {os.cpu_count()} cores, {memory / 1e9:.0f} GB"


def peak_memory_bytes() -> int:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def code_digest(stage: type) -> str:
    """SHA-256, in hex, of the source that decides what a stage computes: its own file and what it may call here."""
    own = inspect.getsourcefile(stage)
    files = [Path(own)] if own else []
    files += [PACKAGE / f"{name}.py" for name in COMPUTING]
    sha = hashlib.sha256()
    for path in files:
        sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()
