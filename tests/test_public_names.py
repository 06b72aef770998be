"""`from compress import NAME` gives the public object, whatever was imported before."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import compress

MODULES = [m.name for m in pkgutil.walk_packages(compress.__path__, "compress.")]
# Each name with the `__module__` of its object; a module has no such attribute.
SHOWN = (
    "import compress\n"
    "for name in compress.__all__: print(name, getattr(compress, name).__module__)\n"
)


def shown_after(code: str) -> dict[str, str]:
    """Public name -> module of its object, in a fresh Python that has run `code` first."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOWN}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines())


def test_every_public_name_is_there_in_a_fresh_process() -> None:
    shown = shown_after("")
    assert list(shown) == compress.__all__
    assert all(home.startswith("compress.") for home in shown.values())


def test_public_names_are_unchanged_after_every_module_is_imported() -> None:
    modules = [name for name in MODULES if not name.endswith("__main__")]
    assert len(modules) > 50
    assert shown_after("\n".join(f"import {name}" for name in modules)) == shown_after("")


def test_no_public_name_is_the_name_of_a_module() -> None:
    """Importing a module sets it as an attribute of the package, which would replace a name loaded on first use."""
    assert {f"compress.{name}" for name in compress.__all__} & set(MODULES) == set()
