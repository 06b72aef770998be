"""A digest of source code that changes with what the code does, not with its comments, layout or location."""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

GENERATED = ("_version.py",)  # each build writes another one
INSTALLED = {"site-packages", "dist-packages"}  # names of folders of installed packages
STANDARD_LIBRARY = Path(ast.__file__).parent
ENGINE = __name__.split(".")[0]


def source_digest(maker: type) -> str:
    """SHA-256, in hex, of the source of the package that defines a class. It is part of run keys: new source, new run.

    If the module of the class is in no package, the digest covers this module and the modules and packages of the same
    folder that it imports. Comments, docstrings, the order of imports, and the names and locations of files do not
    count.

    Raises:
      ValueError: the class was not read from a file.
    """
    module = sys.modules.get(maker.__module__)
    file = getattr(module, "__file__", None)
    if not file or not Path(file).is_file():
        raise ValueError(
            f"{maker.__name__!r} was not read from a file, so its finished runs could not be distinguished from "
            "outdated ones: put the class into a module."
        )
    top = maker.__module__.split(".")[0]
    places = getattr(sys.modules.get(top), "__path__", None)
    if places is None:
        return _combined(_modules_beside(Path(file)))
    return _combined([module for place in places for module in _package(Path(place))])


@dataclass(frozen=True)
class _Module:
    name: str  # dotted
    package: str  # the package that relative imports start from
    source: bytes

    @property
    def code(self) -> str:
        """SHA-256, in hex, of the module's code without imports and docstrings."""
        return hashlib.sha256(_parsed(self.source)[0].encode()).hexdigest()

    def imports(self) -> Iterator[tuple[str, str, str]]:
        """(module, imported name, alias) for each import."""
        for level, module, word, alias in _parsed(self.source)[1]:
            outer = self.package.split(".")[: 1 - level or None] if level else []
            yield ".".join([*outer, *([module] if module else [])]), word, alias


def _package(folder: Path) -> Iterator[_Module]:
    """Every module below the folder of a package, except the generated ones."""
    for path in sorted(folder.rglob("*.py")):
        if path.name not in GENERATED:
            *outer, name = [folder.name, *path.relative_to(folder).with_suffix("").parts]
            package = ".".join(outer)
            yield _Module(
                package if name == "__init__" else f"{package}.{name}", package, path.read_bytes()
            )


def _modules_beside(path: Path) -> list[_Module]:
    """A module and the modules and packages of its folder that it imports, directly or through other modules."""
    own = _Module(path.stem, "", path.read_bytes())
    modules, names, new = [own], {own.name}, [own]
    while new:
        imported = {name.split(".")[0] for module in new for name, _, _ in module.imports()}
        new = [each for name in imported - names - {""} for each in _beside(path.parent, name)]
        names |= imported
        modules += new
    return modules


def _beside(folder: Path, name: str) -> Iterator[_Module]:
    """The module `name` of a folder, or every module of its package `name`; empty if the folder has neither.

    This package, and the packages of a folder of installed packages, are not read: they are libraries.
    """
    is_package = (folder / name / "__init__.py").is_file()
    of_libraries = INSTALLED.intersection(folder.parts) or folder == STANDARD_LIBRARY
    if is_package and name != ENGINE and not of_libraries:
        yield from _package(folder / name)
    elif not is_package and (folder / f"{name}.py").is_file():
        yield _Module(name, "", (folder / f"{name}.py").read_bytes())


def _combined(modules: Sequence[_Module]) -> str:
    """One digest of modules, independent of their names: the code of each module with the code that it imports."""
    codes = {module.name: module.code for module in modules}
    digests = set()
    for module in modules:
        imports = {
            codes[f"{other}.{word}"] if f"{other}.{word}" in codes
            else f"{codes.get(other) or _outside(other)} {word} {alias}"
            for other, word, alias in module.imports()
        }  # fmt: skip
        if imports or module.code != _Module("", "", b"").code:
            text = "\n".join([module.code, *sorted(imports)])
            digests.add(hashlib.sha256(text.encode()).hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _outside(module: str) -> str:
    """The name that identifies an imported module of another package. Every module of the engine counts as ENGINE."""
    return ENGINE if module.split(".")[0] == ENGINE else module


@functools.cache  # every run of a process needs the same files
def _parsed(source: bytes) -> tuple[str, tuple[tuple[int, str, str, str], ...]]:
    """The code of a module without docstrings and imports, and its imports as (level, module, name, alias)."""
    tree = ast.parse(source)
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, "", alias.asname or "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            imports += [(node.level, module, a.name, a.asname or "") for a in node.names]
    return ast.dump(_Bare().visit(tree)), tuple(imports)


class _Bare(ast.NodeTransformer):
    """Removes docstrings and imports from a syntax tree."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        body = getattr(node, "body", None)
        documented = isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        )
        if documented and isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:]  # type: ignore[attr-defined]
        return super().generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Remove the import: the visitor drops a node for which it gets None."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Remove the import, as `visit_Import` does."""


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
