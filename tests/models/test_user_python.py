import copy
import dataclasses
import pickle
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from epsball.errors import InputError, ModelError
from epsball.models import load

NET = """
from dataclasses import dataclass
from torch import nn
from layers import Head

@dataclass
class Config:
    width: int

class Net(nn.Module):
    def __init__(self, shape, classes, width=4):
        super().__init__()
        self.config = Config(width)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(shape[0], width), nn.ReLU(), Head(width, classes))

    def forward(self, x):
        return self.body(x)

def build(classes, width: int = 4, rate: "float" = 0.5):
    return Net((6,), classes, width)

def number():
    return 3

def fails():
    width = 0
    return 1 / width

builtin = type

def lazy():
    return nn.LazyLinear(3)
"""
LAYERS = """
from torch import nn

class Head(nn.Linear):
    bias_was = {}
"""


@pytest.fixture
def net_py(tmp_path: Path) -> Path:
    (tmp_path / "layers.py").write_text(LAYERS.replace("{}", "1"))
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def test_a_function_and_a_class_build_a_module(net_py, tmp_path):
    loaded = load(f"{net_py}:build,width=7,mean=0.5", classes=3)
    assert loaded.module(torch.rand(2, 6)).shape == (2, 3)
    assert (loaded.module.config.width, loaded.mean, loaded.classes) == (7, (0.5,), 3)
    assert loaded.architecture == f"{net_py}:build,width=7"
    torch.save(loaded.module.state_dict(), tmp_path / "w.pth")
    again = load(f"{net_py}:Net@{tmp_path / 'w.pth'},width=7,shape=6,classes=3")
    x = torch.rand(2, 6)
    assert torch.equal(again.module(x), loaded.module(x))
    assert again.weights == tmp_path / "w.pth"


def test_nothing_is_left_behind_but_the_classes_work(net_py):
    modules, path = set(sys.modules), list(sys.path)
    module = load(f"{net_py}:build", classes=3).module
    assert sys.path == path
    (own,) = set(sys.modules) - modules
    assert own not in ("net", "layers")
    assert own.startswith("_epsball")
    assert dataclasses.asdict(module.config) == {"width": 4}
    assert pickle.loads(pickle.dumps(module.config)) == module.config
    assert isinstance(copy.deepcopy(module), type(module))
    assert not list(net_py.parent.glob("__pycache__/net*"))


def test_two_models_may_each_have_their_own_neighbour(net_py, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "layers.py").write_text(LAYERS.replace("{}", "2"))
    (other / "net.py").write_text(NET)
    first, second = (load(f"{path}:build", classes=3).module for path in (net_py, other / "net.py"))
    assert (first.body[3].bias_was, second.body[3].bias_was) == (1, 2)


def test_an_edited_file_is_read_anew(net_py):
    load(f"{net_py}:build", classes=3)
    net_py.write_text(NET.replace("return 3", "return nn.Linear(2, 2)"))
    assert isinstance(load(f"{net_py}:number").module, nn.Linear)


@pytest.mark.parametrize(
    ("function", "error", "words"),
    [
        ("biuld", InputError, "no function 'biuld'. Did you mean 'build'.*It defines: Config, Net, build"),
        ("number", ModelError, "returned a int; it must return a torch.nn.Module"),
        ("fails", ModelError, r"net.py, line 27: ZeroDivisionError: division by zero"),
        ("lazy", ModelError, "lazy layers"),
        ("build,wdith=3", InputError, "no option 'wdith'. Did you mean 'width'"),
        ("build,rate=x", InputError, "rate=x cannot be read"),
        ("Net", InputError, "needs 'shape'"),
        ("builtin", InputError, "has no signature"),
    ],
)
def test_what_goes_wrong_is_named(function, error, words, net_py):
    with pytest.raises(error, match=words):
        load(f"{net_py}:{function}", classes=3)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import torch\n\nraise RuntimeError('no licence')\n", "line 3: RuntimeError: no licence"),
        ("def build(:\n    pass\n", "line 1: SyntaxError"),
        ("import sys\nsys.exit(2)\n", "line 2: SystemExit"),
        ("from lairs import Head\n", "line 1: ModuleNotFoundError"),
        ("import broken\n", "broken.py, line 2: SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_run_is_reported_and_forgotten(source, words, tmp_path):
    (tmp_path / "broken.py").write_text("\nx = (\n")
    path = tmp_path / "net.py"
    path.write_text(source)
    before = set(sys.modules)
    with pytest.raises(ModelError, match=words):
        load(f"{path}:build")
    assert set(sys.modules) == before


def test_a_missing_file_or_function_is_named(tmp_path, net_py):
    with pytest.raises(InputError, match="Did you mean"):
        load(f"{tmp_path / 'nets.py'}:build")
    with pytest.raises(InputError, match=r"net.py:function"):
        load(str(net_py))
