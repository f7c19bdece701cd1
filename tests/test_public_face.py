"""The public face: what is promised is there, in a fresh interpreter, and editors see the same names."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import epsball
from epsball.results import Result


def _stubs() -> set[str]:
    """Return the names that type checkers and editors see."""
    (block,) = [node for node in ast.parse(Path(epsball.__file__).read_text()).body if isinstance(node, ast.If)]
    return {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_the_lazy_table_and_the_type_stubs_name_the_same():
    assert _stubs() | {"__version__"} == set(epsball.__all__)


def test_the_stub_of_every_name_is_the_object_itself():
    for name in _stubs():
        assert getattr(epsball, name).__name__.rpartition(".")[2] == name


@pytest.mark.parametrize("name", ["auditing", "ball", "errors", "sensitivity", "similarities"])
def test_a_name_is_reachable_in_a_fresh_interpreter(name):
    subprocess.run([sys.executable, "-c", f"import epsball as eb; eb.{name}"], check=True)


def test_importing_the_package_imports_no_torch():
    subprocess.run([sys.executable, "-c", "import sys, epsball; sys.exit('torch' in sys.modules)"], check=True)


def test_the_citation_names_the_version():
    citation = Path(__file__).parents[1] / "CITATION.cff"
    assert f"version: {epsball.__version__}\n" in citation.read_text()


OLD_NAMES = {
    "epsball.attacks.engine.query.Query": {"component": "begin_stage"},
    "epsball.classifier.Classifier": {"adopt": "to_model", "handled": "effective_logits"},
    "epsball.errors": {"choose": "lookup"},
}


@pytest.mark.parametrize("home", OLD_NAMES)
def test_old_names_of_members_still_work(home):
    module, _, name = home.rpartition(".")
    owner = getattr(import_module(module), name)
    for old, new in OLD_NAMES[home].items():
        assert getattr(owner, old) is getattr(owner, new)


def _all_results(parent: type = Result) -> list[type]:
    return [kind for child in parent.__subclasses__() for kind in (child, *_all_results(child))]


def test_every_result_shows_itself_the_same_way():
    for name in epsball.__all__:
        getattr(epsball, name)
    ours = [kind for kind in _all_results() if kind.__module__.startswith("epsball.")]
    assert len(ours) > 10
    for kind in ours:
        assert kind.__repr__ is Result.__repr__
        assert kind._repr_html_ is Result._repr_html_
