"""The CIFAR-10 task, as the engine finds it."""

import numpy as np

from baselines.cifar10.spec import CLASSES
from baselines.cifar10.task import Cifar10
from compress import registry
from compress.training.recipe import Recipe
from support.fresh_python import printed_by


def test_the_task_is_found_by_its_name():
    task = registry.task("cifar10")
    assert isinstance(task, Cifar10)
    assert task.name == "cifar10"
    assert task.input_shape == (32, 32, 3)


def test_the_task_gives_its_data(monkeypatch, tmp_path):
    for name in ("HOME", "KERAS_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("COMPRESS_OFFLINE", "1")
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    data = Cifar10().load(None, lambda sentence: None)
    assert data.classes == CLASSES
    assert data.train.images.shape[1:] == Cifar10.input_shape
    assert data.train.images.dtype == np.uint8
    assert set(data.train.labels) == set(range(len(CLASSES)))


def test_the_task_has_recipes_and_the_first_is_the_default():
    recipes = Cifar10().recipes
    assert next(iter(recipes)) == "strong"
    assert all(isinstance(recipe, Recipe) for recipe in [*recipes.values(), Cifar10().finetuning])


def test_the_task_names_its_baseline_file_and_its_reference_files():
    path = Cifar10().baseline_path()
    assert path is None or path.suffix == ".keras"
    assert [p.name for p in Cifar10().references()] == ["published.csv", "field.csv"]


def test_importing_the_task_imports_no_heavy_library():
    heavy = "{'tensorflow', 'keras', 'pandas', 'matplotlib', 'PIL', 'rich'}"
    code = f"import sys, baselines.cifar10.task; print(sorted({heavy} & set(sys.modules)))"
    assert printed_by(code) == "[]"
