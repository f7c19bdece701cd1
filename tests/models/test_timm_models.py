import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from epsball.errors import InputError, MissingExtra, ModelError
from epsball.models import load


class FakeTimm(ModuleType):
    """What of timm is used: is_model, list_models, create_model."""

    def is_model(self, name: str) -> bool:
        return name in self.list_models()

    def list_models(self) -> list[str]:
        return ["resnet18", "vit_tiny_patch16_224"]

    def create_model(self, model_name, pretrained: bool = False, num_classes=1000, in_chans=3, **kwargs) -> nn.Module:
        if "drop_rate" in kwargs and kwargs["drop_rate"] > 1:
            raise ValueError("drop_rate is too large")
        module = nn.Sequential(
            nn.Conv2d(in_chans, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, num_classes)
        )
        module.pretrained_cfg = {
            "mean": (0.5, 0.5, 0.5),
            "std": (0.25, 0.25, 0.25),
            "input_size": (3, 16, 16),
            "num_classes": 1000,
            "fixed_input_size": model_name.startswith("vit"),
        }
        module.arguments = kwargs
        return module


@pytest.fixture
def timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", FakeTimm("timm"))


@pytest.mark.usefixtures("timm")
def test_a_model_is_built_to_the_datas_measure():
    loaded = load("timm:resnet18,drop_rate=1/2", shape=(1, 8, 8), classes=7)
    assert loaded.module(torch.rand(2, 1, 8, 8)).shape == (2, 7)
    assert loaded.module.arguments == {"drop_rate": 0.5}
    assert (loaded.mean, loaded.name, loaded.weights) == (None, "timm:resnet18", None)


@pytest.mark.usefixtures("timm")
def test_a_pretrained_model_keeps_its_own_classes_and_normalisation():
    loaded = load("timm:resnet18.a1_in1k,pretrained=true", shape=(3, 8, 8), classes=7)
    assert loaded.module(torch.rand(2, 3, 8, 8)).shape == (2, 1000)
    assert (loaded.mean, loaded.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert (loaded.shape, loaded.classes) == ((3, 8, 8), 1000)
    first, second = loaded.notes
    assert "mean=0.5:0.5:0.5, std=0.25:0.25:0.25, inputs of 3x8x8, 1000 classes" in first
    assert "trained on inputs of 3x16x16" in second
    assert load("timm:resnet18,pretrained=true,mean=0.1,std=0.2").mean == (0.1,)
    assert load("timm:resnet18,pretrained=true").shape == (3, 16, 16)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(("name", "shape"), [("vit_tiny_patch16_224", (3, 8, 8)), ("resnet18", (1, 8, 8))])
def test_data_of_a_shape_that_the_pretrained_model_cannot_take_are_refused(name, shape):
    with pytest.raises(InputError, match="takes inputs of shape 3x16x16, the data has"):
        load(f"timm:{name},pretrained=true", shape=shape)


@pytest.mark.usefixtures("timm")
def test_weights_are_read_by_our_reader(tmp_path):
    torch.save(load("timm:resnet18", classes=2).module.state_dict(), tmp_path / "w.pth")
    assert load(f"timm:resnet18@{tmp_path / 'w.pth'}", classes=2).weights == tmp_path / "w.pth"
    with pytest.raises(ModelError, match="of another shape"):
        load(f"timm:resnet18@{tmp_path / 'w.pth'}", classes=3)


@pytest.mark.usefixtures("timm")
def test_weights_of_a_tagged_name_bring_its_normalisation_others_a_hint(tmp_path):
    torch.save(load("timm:resnet18").module.state_dict(), tmp_path / "w.pth")
    tagged = load(f"timm:resnet18.a1_in1k@{tmp_path / 'w.pth'}", shape=(3, 8, 8), classes=7)
    assert (tagged.mean, tagged.std, tagged.classes) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 1000)
    plain = load(f"timm:resnet18@{tmp_path / 'w.pth'}")
    assert plain.mean is None
    assert "used without normalisation" in plain.notes[0]
    assert "mean=0.5:0.5:0.5,std=0.25:0.25:0.25" in plain.notes[0]


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("timm:resnet81", InputError, "no model 'resnet81'. Did you mean 'resnet18'"),
        ("timm:hf-hub:someone/something", InputError, "weights of a hub or a folder"),
        ("timm:resnet18,checkpoint_path=evil.pth", InputError, "timm:resnet18@WEIGHTS"),
        ("timm:resnet18,drop_rate=2", ModelError, "could not build 'resnet18': ValueError: drop_rate"),
        ("timm:resnet18@w.pth,pretrained=true", InputError, "both name weights"),
        ("timm:resnet18,pretrained=maybe", InputError, "pretrained=maybe cannot be read"),
    ],
)
def test_what_cannot_be_built_is_named(text, error, words):
    with pytest.raises(error, match=words):
        load(text)


def test_a_missing_timm_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr("epsball.models.timm_models.import_module", missing("timm"))
    with pytest.raises(MissingExtra, match=r"pip install 'epsball\[timm\]'"):
        load("timm:resnet18")


def missing(name: str):
    def import_module(_: str):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    return import_module


def broken(_: str):
    raise RuntimeError("operator torchvision::nms does not exist")


@pytest.mark.parametrize(
    ("importer", "words"), [(missing("torchvision"), "torchvision"), (broken, "nms does not exist")]
)
def test_a_broken_timm_says_why(importer, words, monkeypatch):
    monkeypatch.setattr("epsball.models.timm_models.import_module", importer)
    with pytest.raises(
        ModelError, match=f"cannot be imported: .*{words}.*fit this PyTorch: install torch and torchvision"
    ):
        load("timm:resnet18")
