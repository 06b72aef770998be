"""The rules of docs/architecture.md about imports and forbidden code, checked against the sources."""

from __future__ import annotations

import ast
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compress.keras_models.layer_kinds import KINDS

ROOT = Path(__file__).parents[1]
MAX_LINES = 250
# Package -> the files that may import it; a name that ends in * matches every name with that beginning.
DOORS = {
    "keras": ("compress/backend.py",),
    "tensorflow": ("compress/backend.py",),
    "ai_edge_litert": ("compress/backend.py",),
    "ai_edge_quantizer": ("compress/backend.py",),
    "tf_keras": ("compress/tfmot/*",),
    "tensorflow_model_optimization": ("compress/tfmot/*",),
    "pandas": ("compress/report/*", "compress/api.py"),
    "matplotlib": ("compress/report/*",),
    "optuna": ("compress/search/*",),
    "ray": ("compress/workers/on_ray.py",),
    "sqlalchemy": ("compress/search/storage.py",),
    "altair": ("compress/report/*",),
    "vl_convert": ("compress/report/*",),
}
NETWORK = ("urllib", "urllib3", "requests", "http", "httpx", "aiohttp", "ftplib", "socket")
CODE_FROM_DATA = ("eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads")


def in_folder(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*.py") if p.name != "_version.py")


ENGINE, STAGES, TESTS = in_folder("compress"), in_folder("compress/stages"), in_folder("tests")
SOURCES = [*ENGINE, *in_folder("baselines")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def parsed(path: Path) -> ast.Module:
    with tokenize.open(path) as file:
        return ast.parse(file.read(), str(path))


def imports(tree: ast.AST) -> Iterator[str]:
    """Everything that `tree` imports anywhere: "compress.stage.Stage" of `from compress.stage import Stage`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            yield from (word for word in words if isinstance(word, str))


def imports_at_once(tree: ast.Module) -> Iterator[str]:
    """The imports that run when the module is imported, without those in functions and for the type checker."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def of_package(names: Iterator[str], *packages: str) -> list[str]:
    return [n for n in names if any(n == p or n.startswith(f"{p}.") for p in packages)]


def may(path: Path, doors: tuple[str, ...]) -> bool:
    own = name_of(path)
    return any(own.startswith(d[:-1]) if d.endswith("*") else own == d for d in doors)


def offenders(
    paths: list[Path], offence: Callable[[ast.Module], list[str]]
) -> dict[str, list[str]]:
    """The files that break a rule, each with the offending code."""
    found = {name_of(path): offence(parsed(path)) for path in paths}
    return {name: what for name, what in found.items() if what}


def test_the_checked_sources_and_tests_are_found() -> None:
    names = {name_of(path) for path in [*SOURCES, *TESTS]}
    assert {
        "compress/stages/prune.py",
        "baselines/cifar10/networks/plain.py",
        "tests/test_layering.py",
    } <= names


def test_imports_finds_imports_at_every_level() -> None:
    tree = ast.parse(
        "import a.b\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import c\n"
        "def f():\n    from d import e\n    import_module('g')\nclass H:\n    import i\n"
    )
    assert {"a.b", "c", "d.e", "g", "i"} <= set(imports(tree))
    assert set(imports_at_once(tree)) == {"a.b", "typing.TYPE_CHECKING", "i"}


def test_the_engine_imports_no_baseline() -> None:
    assert offenders(ENGINE, lambda tree: of_package(imports(tree), "baselines")) == {}


def test_stages_do_not_import_each_other() -> None:
    assert offenders(STAGES, lambda tree: of_package(imports(tree), "compress.stages")) == {}


def test_imports_are_absolute() -> None:
    assert offenders(SOURCES, lambda t: [n for n in imports(t) if n.startswith(".")]) == {}


@pytest.mark.parametrize("package", DOORS)
def test_only_the_listed_files_import_each_heavy_library(package: str) -> None:
    users = offenders(SOURCES, lambda tree: of_package(imports(tree), package))
    assert users != {}, "the door is closed: take it off the list"
    assert [name for name in users if not may(ROOT / name, DOORS[package])] == []


def test_no_module_imports_a_heavy_library_at_the_top_level() -> None:
    found = offenders(SOURCES, lambda t: of_package(imports_at_once(t), *DOORS, "h5py"))
    assert found == {}


@pytest.mark.parametrize(
    "name", ["stage", "typed_options", "rows/bits", "rows/field_check", "registry"]
)
def test_the_lowest_modules_import_nothing_of_the_package(name: str) -> None:
    found = of_package(imports_at_once(parsed(ROOT / f"compress/{name}.py")), "compress")
    own = {"registry": ("compress.text.",), "stage": ("compress.typed_options",)}
    assert [each for each in found if not each.startswith(own.get(name, ()))] == []


def texts(tree: ast.Module) -> set[str]:
    """The string constants in code, without docstrings and doctests."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {c.value for c in constants if isinstance(c.value, str) and id(c) not in docs}


def test_only_the_run_folder_module_names_the_files_of_a_run() -> None:
    names = {"manifest.json", "training_curves", "predictions.npz", "model.keras", "checkpoint"}
    found = offenders(ENGINE, lambda tree: sorted(names & texts(tree)))
    assert set(found) == {"compress/runs/folder.py"}


def test_there_is_no_import_cycle() -> None:
    """This includes imports for the type checker and in functions, which the import contracts leave out."""
    modules = {module_of(path): parsed(path) for path in SOURCES if path.name != "__init__.py"}
    users = {name: set(imports(tree)) for name, tree in modules.items()}
    uses = {
        name: {m for m in modules for n in names if n == m or n.rpartition(".")[0] == m} - {name}
        for name, names in users.items()
    }
    while leaves := [name for name, needed in uses.items() if not needed & uses.keys()]:
        for name in leaves:
            del uses[name]
    while tops := set(uses) - {used for needed in uses.values() for used in needed}:
        for name in tops:
            del uses[name]
    assert uses == {}


def test_every_package_has_a_folder_of_tests() -> None:
    packages = {path.parent.name for path in (ROOT / "compress").glob("*/__init__.py")}
    assert {
        name for name in packages if not list((ROOT / "tests" / name).glob("test_*.py"))
    } == set()


def test_only_the_main_module_imports_the_command_line() -> None:
    users = offenders(SOURCES, lambda tree: of_package(imports(tree), "compress.cli.main"))
    assert set(users) <= {"compress/__main__.py"}


def caught_whole(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = (
            [n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)] if node.type else [""]
        )
        passed_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        if {"", "Exception"} & set(caught) or ("BaseException" in caught and not passed_on):
            found.append(f"line {node.lineno}")
    return found


def test_only_the_list_of_pipelines_catches_every_exception() -> None:
    # It continues after a pipeline fails for any reason, and shows the traceback.
    assert set(offenders(SOURCES, caught_whole)) == {"compress/pipelines/toml_file.py"}


@pytest.mark.parametrize("words", ["", " Exception", " (ValueError, Exception)", " BaseException"])
def test_handlers_that_catch_every_exception_are_found(words: str) -> None:
    assert caught_whole(ast.parse(f"try:\n    f()\nexcept{words}:\n    pass")) == ["line 3"]
    assert caught_whole(ast.parse("try:\n    f()\nexcept BaseException:\n    g()\n    raise")) == []


def told_apart_by_text(tree: ast.Module) -> list[str]:
    """The lines on which the text of a caught error is compared or searched."""
    found = []
    for handler in (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)):
        texts = {f"str({handler.name})", f"{handler.name}.args[0]", f"{handler.name}.message"}
        searches = ("startswith", "endswith", "find", "index", "count", "partition", "rpartition")
        for node in ast.walk(handler):
            parts: list[ast.expr] = []
            if isinstance(node, ast.Compare):
                parts = [node.left, *node.comparators]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                parts = node.args
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                parts = [node.func.value] if node.func.attr in searches else []
            if texts & {ast.unparse(part) for part in parts}:
                found.append(f"line {node.lineno}")
    return found


def test_errors_are_distinguished_by_type_and_not_by_text() -> None:
    assert offenders(SOURCES, told_apart_by_text) == {}


@pytest.mark.parametrize(
    "test",
    ["'x' in str(e)", "e.args[0] == 'x'", "str(e).startswith('x')", "re.search('x', e.message)"],
)
def test_handlers_that_compare_the_text_of_an_error_are_found(test: str) -> None:
    code = f"try:\n    f()\nexcept ValueError as e:\n    if {test}:\n        g()"
    assert told_apart_by_text(ast.parse(code)) == ["line 4"]


def test_no_module_runs_a_shell_or_code_from_data() -> None:
    def calls(tree: ast.Module) -> list[str]:
        found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        unsafe = ("shell=True", "allow_pickle=True")
        return [
            ast.unparse(node)
            for node in found
            if ast.unparse(node.func) in CODE_FROM_DATA
            or any(f"{word.arg}={ast.unparse(word.value)}" in unsafe for word in node.keywords)
        ]

    assert offenders(SOURCES, calls) == {}


def prints(tree: ast.Module) -> list[str]:
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    ways = ("print", "click.echo", "click.secho", "traceback.print_exc")
    return [c for c in calls if c in ways or c.startswith(("sys.stdout.w", "sys.stderr.w"))]


def test_only_the_console_prints() -> None:
    # The console removes control characters from names. Click prints error messages: see cli/options.py.
    assert set(offenders(SOURCES, prints)) == {"compress/cli/console.py"}


@pytest.mark.parametrize("call", ["print('x')", "click.echo(x)", "sys.stderr.write(x)"])
def test_calls_that_print_are_found(call: str) -> None:
    assert len(prints(ast.parse(call))) == 1


def test_no_input_is_checked_by_assert() -> None:
    def asserts(tree: ast.Module) -> list[str]:
        return [f"line {node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Assert)]

    assert offenders(SOURCES, asserts) == {}


def test_only_the_table_of_layer_kinds_names_layer_classes() -> None:
    # Model files name classes. The last layer is compared by name for any Keras; tfmot's patterns consist of names.
    table, files = "compress/keras_models/layer_kinds.py", "compress/model_files/"
    others = {
        "compress/keras_models/layers.py": ["Softmax"],
        "compress/tfmot/qat_scheme.py": ["ReLU", "ReLU", "Add"],
    }

    def names(tree: ast.Module) -> list[str]:
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        words = [text.split() for text in texts if isinstance(text, str)]
        return [word for each in words if set(each) <= set(KINDS) for word in each]

    found = offenders(ENGINE, names)
    assert found.pop(table)
    assert {name: what for name, what in found.items() if not name.startswith(files)} == others


def test_modules_have_at_most_250_lines() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_module_docstrings_begin_with_a_sentence() -> None:
    def unsaid(tree: ast.Module) -> list[str]:
        first = (ast.get_docstring(tree) or "").partition("\n")[0]
        return [] if first.endswith(".") or not tree.body else [first]

    assert offenders(SOURCES, unsaid) == {}


def test_no_file_has_a_to_do_mark() -> None:
    marks = ("TO" + "DO", "FIX" + "ME")
    texts = {name_of(path): path.read_text() for path in [*SOURCES, *TESTS]}
    assert [name for name, text in texts.items() if any(mark in text for mark in marks)] == []


def test_no_test_imports_a_network_library() -> None:
    users = offenders(TESTS, lambda tree: of_package(imports(tree), *NETWORK))
    # The download is tested against a server that the test itself runs.
    assert set(users) <= {"tests/baselines/test_download.py", "tests/support/file_server.py"}


def modules_after(code: str) -> set[str]:
    """The top-level packages in memory once a fresh Python has run `code`."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_the_package_imports_no_heavy_library() -> None:
    found = modules_after("import compress")
    assert "compress" in found
    assert found & {*DOORS, "numpy", "h5py", "scipy", "statsmodels"} == set()


def test_importing_every_module_imports_no_framework() -> None:
    names = [module_of(path) for path in SOURCES if path.name != "__main__.py"]
    found = modules_after("\n".join(f"import {name}" for name in names))
    assert found & {*DOORS, "h5py"} == set()
