"""Provenance: the code, libraries and machine that made a row."""

from __future__ import annotations

import importlib
import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
DISTRIBUTIONS = (
    "compress-cnn",
    "tensorflow",
    "keras",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "tflite-micro",
    "numpy",
)
GIT_SECONDS = 20  # timeout: a file system that hangs must not block the run


def commit(package: Path = PACKAGE) -> str:
    """The git commit of the running code, with "+changes" if tracked code differs from it; or "unknown".

    For a checkout that tracks `package`, this is its HEAD; for an installed package, the commit that it was built from.
    """
    root = package.parent
    tracked = _git(package, "ls-files", "--error-unmatch", "--", "__init__.py")
    head = _git(root, "rev-parse", "--verify", "HEAD") if tracked else None
    if not head:
        return _built_from()
    unchanged = _git(
        root, "diff", "--quiet", "--no-ext-diff", "HEAD", "--", package.name, "baselines"
    )
    return head if unchanged is not None else f"{head}+changes"


def versions() -> dict[str, str]:
    """Python and each library that can affect the numbers -> version, or "absent". No library is imported."""
    return {"python": platform.python_version()} | {
        name: version_of(name) for name in DISTRIBUTIONS
    }


def version_of(distribution: str) -> str:
    """The version of an installed distribution, or "absent". The distribution is not imported."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor, the number of cores that this process may use, and the memory of the machine."""
    text = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    model = _model_name(text) or platform.processor() or platform.machine() or "unknown processor"
    # macOS has no such function: there, every process may use every core.
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{model}, {cores} core{'s' if cores > 1 else ''}, {memory / 1e9:.0f} GB"


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The feature flags of the processor, with the names that Linux uses; empty on other systems."""
    text = cpuinfo.read_text(errors="replace") if cpuinfo.exists() else ""
    lines = [line.partition(":") for line in text.splitlines()]
    return next((set(value.split()) for key, _, value in lines if key.strip() == "flags"), set())


# Instruction set that decides the speed of small networks -> flags that Linux uses for it.
_INSTRUCTION_SETS = {
    "AVX2": {"avx2"},
    "AVX-512": {"avx512f"},
    "VNNI": {"avx512_vnni", "avx_vnni"},
    "bf16": {"avx512_bf16", "amx_bf16"},
}


def instruction_sets() -> list[str]:
    """The processor's instruction sets that decide the speed of small networks; empty if Linux does not list them."""
    flags = processor_flags()
    return [name for name, named in _INSTRUCTION_SETS.items() if named & flags]


def peak_memory_bytes() -> int:
    """The peak memory use of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux kibibytes


def _git(folder: Path, *words: str) -> str | None:
    """The output of git in `folder`, stripped; None if git fails, hangs or is not installed."""
    # The variables of a hook or of another tool must not select another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *words]
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return process.stdout.strip() if process.returncode == 0 else None


def _built_from() -> str:
    try:
        stamp = importlib.import_module("compress._version")
    except ModuleNotFoundError:
        return "unknown"
    commit_id = getattr(stamp, "__commit_id__", None)
    return str(commit_id).removeprefix("g") if commit_id else "unknown"


def _model_name(cpuinfo: str) -> str:
    r"""The processor's name in the text of `/proc/cpuinfo`; empty if it has none, as on ARM.

    >>> _model_name("processor : 0\nmodel\t: 85\nmodel name\t: Fast  CPU @ 2 GHz\n")
    'Fast CPU @ 2 GHz'
    """
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    return ""
