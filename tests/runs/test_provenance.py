"""A row's commit, versions, machine and code digest are those of what ran."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

from compress.runs import provenance
from support.fresh_python import printed_by


def git(folder: Path, *words: str) -> str:
    """Run git without the settings of the user."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z",
        "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z",
    }
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *words],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return done.stdout.strip()


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with one commit that holds all files."""
    root = tmp_path / "project"
    for name in (
        "compress/__init__.py",
        "compress/training/fit.py",
        "baselines/cifar10/cnn.py",
        "README.md",
    ):
        write(root / name)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "Begin")
    return root


@pytest.fixture
def stamped(monkeypatch: pytest.MonkeyPatch) -> str:
    """The commit that the build wrote into the package."""
    stamp = types.ModuleType("compress._version")
    stamp.__dict__["__commit_id__"] = "g0123456789"
    monkeypatch.setitem(sys.modules, "compress._version", stamp)
    return "0123456789"


def test_commit_is_the_checkouts_head(checkout: Path) -> None:
    assert provenance.commit(checkout / "compress") == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize("name", ["compress/training/fit.py", "baselines/cifar10/cnn.py"])
def test_changed_code_is_marked_in_the_commit(name: str, checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / name).write_text("x = 1\n")
    assert provenance.commit(checkout / "compress") == f"{head}+changes"
    git(checkout, "add", ".")  # a staged change is marked too
    assert provenance.commit(checkout / "compress") == f"{head}+changes"
    git(checkout, "commit", "-q", "-m", "Change")
    after = provenance.commit(checkout / "compress")
    assert after == git(checkout, "rev-parse", "HEAD") != head


def test_removed_code_is_marked_in_the_commit(checkout: Path) -> None:
    (checkout / "compress/training/fit.py").unlink()
    assert provenance.commit(checkout / "compress").endswith("+changes")


def test_other_changes_and_new_files_are_not_marked(checkout: Path) -> None:
    (checkout / "README.md").write_text("new words")
    write(checkout / "reports/new.md")
    write(checkout / "compress/_version.py")
    os.utime(checkout / "compress/training/fit.py", (10**9, 10**9))  # touched, not changed
    assert provenance.commit(checkout / "compress") == git(checkout, "rev-parse", "HEAD")


def test_a_package_installed_inside_another_checkout_has_its_build_commit(
    checkout: Path, stamped: str
) -> None:
    installed = checkout / ".venv/lib/site-packages/compress"
    write(installed / "__init__.py")
    assert provenance.commit(installed) == stamped


def test_a_package_outside_any_checkout_has_its_build_commit(tmp_path: Path, stamped: str) -> None:
    write(tmp_path / "compress/__init__.py")
    assert provenance.commit(tmp_path / "compress") == stamped


def test_a_checkout_without_a_commit_has_its_build_commit(tmp_path: Path, stamped: str) -> None:
    write(tmp_path / "compress/__init__.py")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    assert provenance.commit(tmp_path / "compress") == stamped


def test_without_git_the_build_commit_is_used(
    checkout: Path, stamped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert provenance.commit(checkout / "compress") == stamped


@pytest.mark.parametrize("module", [None, types.ModuleType("compress._version")])
def test_without_git_and_stamp_the_commit_is_unknown(
    module: types.ModuleType | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "compress._version", module)
    assert provenance.commit(tmp_path) == "unknown"


def test_variables_of_a_git_hook_are_ignored(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    write(other / "compress/__init__.py", "other")
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-q", "-m", "Other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert provenance.commit(checkout / "compress") == git(checkout, "rev-parse", "HEAD")


def test_a_command_in_the_checkouts_own_settings_does_not_run(checkout: Path) -> None:
    git(checkout, "config", "core.fsmonitor", f"touch {checkout / 'canary'}; false")
    git(checkout, "config", "diff.external", f"touch {checkout / 'canary'}")
    git(checkout, "config", "diff.trustExitCode", "true")
    (checkout / "compress/training/fit.py").write_text("x = 1\n")
    assert provenance.commit(checkout / "compress").endswith("+changes")
    assert not (checkout / "canary").exists()


def test_versions_are_those_installed() -> None:
    found = provenance.versions()
    assert found["python"] == platform.python_version()
    assert found["numpy"] == metadata.version("numpy")
    assert set(found) == {"python", *provenance.DISTRIBUTIONS}


def test_a_library_that_is_not_installed_is_recorded_as_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(provenance, "DISTRIBUTIONS", ("numpy", "no-such-distribution"))
    found = provenance.versions()
    assert found["no-such-distribution"] == "absent"
    assert found["numpy"] != "absent"


def test_provenance_imports_none_of_the_libraries() -> None:
    code = (
        "import sys; from compress.runs import provenance as p; p.versions(); p.machine(); p.commit();"
        "print([m for m in ('numpy', 'tensorflow', 'keras', 'tf_keras') if m in sys.modules])"
    )
    assert printed_by(code) == "[]"


def test_machine_names_processor_cores_and_memory(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU: 3 GHz\nmodel name\t: Second\n")
    name, cores, memory = provenance.machine(cpuinfo).split(", ")
    assert name == "Some CPU: 3 GHz"
    assert cores.split()[0] == str(len(os.sched_getaffinity(0)))
    assert float(memory.removesuffix(" GB")) > 0


@pytest.mark.parametrize("text", [None, "processor : 0\nCPU implementer : 0x41\n"])
def test_machine_falls_back_to_the_architecture_without_a_processor_name(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    if text:
        (tmp_path / "cpuinfo").write_text(text)
    assert provenance.machine(tmp_path / "cpuinfo").startswith("aarch64, ")


def test_peak_memory_is_in_bytes_and_includes_freed_memory() -> None:
    code = "from compress.runs.provenance import *; held = b'x' * 200_000_000; del held; print(peak_memory_bytes())"
    # A child's peak begins at its parent's, which may have TensorFlow in it: the upper bound is for the unit only.
    assert 200_000_000 < int(printed_by(code)) < 20_000_000_000


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_converted_from_the_unit_of_the_system(
    system: str, unit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    usage = types.SimpleNamespace(ru_maxrss=7)
    monkeypatch.setattr(provenance.resource, "getrusage", lambda who: usage)
    assert provenance.peak_memory_bytes() == 7 * unit
