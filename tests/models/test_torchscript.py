"""Real archives of torch.jit.save."""

import warnings

import pytest
import torch

from epsball.attacks import attack
from epsball.ball import Ball
from epsball.certificates import certify
from epsball.classifier import Classifier
from epsball.errors import InputError, UnsupportedOperation
from epsball.models import load


def written(net, path, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch.rand(2, 1, 2, 4)
        program = {
            "scripted": lambda: torch.jit.script(net),
            "traced": lambda: torch.jit.trace(net, x),
            "frozen": lambda: torch.jit.freeze(torch.jit.script(net)),
        }[kind]()
        torch.jit.save(program, path)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["scripted", "traced", "frozen"])
def test_a_program_is_attacked_as_the_module_it_was_made_of(kind, net, tmp_path):
    path = written(net, tmp_path / "m.pt", kind)
    x, y = torch.rand(8, 1, 2, 4), torch.arange(8) % 3
    loaded = load(f"torchscript:{path}", shape=(1, 2, 4), classes=3)
    assert "certificates cannot be made of it" in loaded.notes[0]
    same, right = (
        attack(model, x, y, Ball.parse("linf:0.1"), seed=3) for model in (loaded.classifier(), Classifier(net))
    )
    assert torch.equal(same.broken, right.broken)
    assert torch.allclose(same.margin, right.margin, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_certificates_say_by_name_that_they_cannot(net, tmp_path):
    path = written(net, tmp_path / "m.pt", "scripted")
    loaded = load(f"torchscript:{path}")
    with pytest.raises(UnsupportedOperation, match="is a TorchScript program.*it can be attacked"):
        certify(loaded.classifier(), torch.rand(2, 1, 2, 4), torch.tensor([0, 1]), Ball.parse("linf:0.1"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_is_run_only_where_the_user_says_so(net, tmp_path):
    path = written(net, tmp_path / "m.pt", "scripted")
    with pytest.raises(InputError, match=f"{path} is a TorchScript archive.*If you trust it.*torchscript:{path}"):
        load(str(path))
    with pytest.raises(InputError, match=f"is a TorchScript archive, which holds code.*torchscript:{path}"):
        load(f"mlp@{path},shape=4,classes=2")


def test_other_files_are_named(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "w.pt")
    with pytest.raises(InputError, match="is not a TorchScript archive"):
        load(f"torchscript:{tmp_path / 'w.pt'}")
    with pytest.raises(InputError, match="there is no file"):
        load(f"torchscript:{tmp_path / 'v.pt'}")
