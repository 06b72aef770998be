"""Who may import whom, and what no file may hold: the laws of docs/architecture.md, read off the sources."""

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
# Package -> the files that may name it; a name that ends in * stands for all that begin so.
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
    """What importing the module imports: not what its functions do, nor what only the type checker reads."""
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
    """The files that break a law, each with what in it does."""
    found = {name_of(path): offence(parsed(path)) for path in paths}
    return {name: what for name, what in found.items() if what}


def test_there_are_files_to_read() -> None:
    names = {name_of(path) for path in [*SOURCES, *TESTS]}
    assert {
        "compress/stages/prune.py",
        "baselines/cifar10/networks/plain.py",
        "tests/test_layering.py",
    } <= names


def test_imports_are_found_wherever_they_are() -> None:
    tree = ast.parse(
        "import a.b\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import c\n"
        "def f():\n    from d import e\n    import_module('g')\nclass H:\n    import i\n"
    )
    assert {"a.b", "c", "d.e", "g", "i"} <= set(imports(tree))
    assert set(imports_at_once(tree)) == {"a.b", "typing.TYPE_CHECKING", "i"}


def test_the_engine_knows_no_baseline() -> None:
    assert offenders(ENGINE, lambda tree: of_package(imports(tree), "baselines")) == {}


def test_stages_do_not_know_each_other() -> None:
    assert offenders(STAGES, lambda tree: of_package(imports(tree), "compress.stages")) == {}


def test_imports_are_absolute() -> None:
    assert offenders(SOURCES, lambda t: [n for n in imports(t) if n.startswith(".")]) == {}


@pytest.mark.parametrize("package", DOORS)
def test_each_heavy_library_comes_in_by_its_door(package: str) -> None:
    users = offenders(SOURCES, lambda tree: of_package(imports(tree), package))
    assert users != {}, "the door is closed: take it off the list"
    assert [name for name in users if not may(ROOT / name, DOORS[package])] == []


def test_heavy_libraries_are_imported_when_they_are_used() -> None:
    found = offenders(SOURCES, lambda t: of_package(imports_at_once(t), *DOORS, "h5py"))
    assert found == {}


@pytest.mark.parametrize(
    "name", ["stage", "typed_options", "rows/bits", "rows/field_check", "registry"]
)
def test_the_foundations_stand_on_nothing_of_ours(name: str) -> None:
    found = of_package(imports_at_once(parsed(ROOT / f"compress/{name}.py")), "compress")
    own = {"registry": ("compress.text.",), "stage": ("compress.typed_options",)}
    assert [each for each in found if not each.startswith(own.get(name, ()))] == []


def texts(tree: ast.Module) -> set[str]:
    """The texts in code, docstrings and doctests aside."""
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {c.value for c in constants if isinstance(c.value, str) and id(c) not in docs}


def test_only_the_run_folder_knows_the_names_of_a_run_s_files() -> None:
    names = {"manifest.json", "training_curves", "predictions.npz", "model.keras", "checkpoint"}
    found = offenders(ENGINE, lambda tree: sorted(names & texts(tree)))
    assert set(found) == {"compress/runs/folder.py"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Nor where only the type checker or a function's body imports, which the import contracts leave out."""
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


def test_nothing_knows_the_command_line() -> None:
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


def test_only_a_list_of_pipelines_catches_whatever_comes() -> None:
    # It goes on after one of them fails, whatever the reason, and shows the traceback.
    assert set(offenders(SOURCES, caught_whole)) == {"compress/pipelines/toml_file.py"}


@pytest.mark.parametrize("words", ["", " Exception", " (ValueError, Exception)", " BaseException"])
def test_catching_whatever_comes_is_seen(words: str) -> None:
    assert caught_whole(ast.parse(f"try:\n    f()\nexcept{words}:\n    pass")) == ["line 3"]
    assert caught_whole(ast.parse("try:\n    f()\nexcept BaseException:\n    g()\n    raise")) == []


def told_apart_by_text(tree: ast.Module) -> list[str]:
    """Where an error that is caught is compared, or searched for a word, by its text."""
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


def test_errors_are_told_apart_by_type_and_not_by_their_text() -> None:
    assert offenders(SOURCES, told_apart_by_text) == {}


@pytest.mark.parametrize(
    "test",
    ["'x' in str(e)", "e.args[0] == 'x'", "str(e).startswith('x')", "re.search('x', e.message)"],
)
def test_telling_errors_apart_by_text_is_seen(test: str) -> None:
    code = f"try:\n    f()\nexcept ValueError as e:\n    if {test}:\n        g()"
    assert told_apart_by_text(ast.parse(code)) == ["line 4"]


def test_nothing_runs_a_shell_or_code_out_of_data() -> None:
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
    # It takes out of names what a terminal would obey. Error messages are printed by click: see cli/options.py.
    assert set(offenders(SOURCES, prints)) == {"compress/cli/console.py"}


@pytest.mark.parametrize("call", ["print('x')", "click.echo(x)", "sys.stderr.write(x)"])
def test_printing_is_seen(call: str) -> None:
    assert len(prints(ast.parse(call))) == 1


def test_no_input_is_checked_by_assert() -> None:
    def asserts(tree: ast.Module) -> list[str]:
        return [f"line {node.lineno}" for node in ast.walk(tree) if isinstance(node, ast.Assert)]

    assert offenders(SOURCES, asserts) == {}


def test_only_the_table_of_layer_kinds_names_classes_of_layers() -> None:
    # A file says classes by name. The last layer's counts in whichever Keras; tfmot's patterns are made of names.
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


def test_modules_are_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_modules_say_in_a_sentence_what_they_are() -> None:
    def unsaid(tree: ast.Module) -> list[str]:
        first = (ast.get_docstring(tree) or "").partition("\n")[0]
        return [] if first.endswith(".") or not tree.body else [first]

    assert offenders(SOURCES, unsaid) == {}


def test_nothing_is_left_to_be_done() -> None:
    marks = ("TO" + "DO", "FIX" + "ME")
    texts = {name_of(path): path.read_text() for path in [*SOURCES, *TESTS]}
    assert [name for name, text in texts.items() if any(mark in text for mark in marks)] == []


def test_no_test_has_a_network() -> None:
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


def test_importing_the_package_imports_nothing_heavy() -> None:
    found = modules_after("import compress")
    assert "compress" in found
    assert found & {*DOORS, "numpy", "h5py", "scipy", "statsmodels"} == set()


def test_importing_every_module_imports_no_framework() -> None:
    names = [module_of(path) for path in SOURCES if path.name != "__main__.py"]
    found = modules_after("\n".join(f"import {name}" for name in names))
    assert found & {*DOORS, "h5py"} == set()
