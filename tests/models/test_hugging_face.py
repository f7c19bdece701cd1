"""Folders as transformers and timm write them, with random weights."""

import json
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from epsball.errors import InputError, MissingExtra, ModelError
from epsball.models import load
from epsball.models.preprocessor import read_preprocessor

try:
    import transformers
except ImportError:
    transformers = None

needs_transformers = pytest.mark.skipif(transformers is None, reason="transformers is not installed")
PROCESSOR = {
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.25, 0.5],
    "size": {"height": 16, "width": 16},
}


def vit(**changes):
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        id2label={0: "cat", 1: "dog", 2: "eel"},
        label2id={"cat": 0, "dog": 1, "eel": 2},
        **changes,
    )
    return transformers.ViTForImageClassification(config)


def resnet():
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=4
    )
    return transformers.ResNetForImageClassification(config)


def folder(path: Path, network, **processor) -> Path:
    network.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **processor}))
    return path


@needs_transformers
def test_a_folder_brings_network_preprocessing_and_labels(tmp_path):
    network = vit().eval()
    loaded = load(f"hf:{folder(tmp_path / 'm', network)}", shape=(3, 16, 16), classes=2)
    x = torch.rand(5, 3, 16, 16)
    mean, std = (torch.tensor(PROCESSOR[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    right = network(pixel_values=(x - mean) / std).logits
    assert torch.allclose(loaded.classifier()(x), right, atol=1e-6)
    assert (loaded.shape, loaded.classes, loaded.class_names) == ((3, 16, 16), 3, ("cat", "dog", "eel"))
    assert "mean=0.5:0.4:0.3, std=0.2:0.25:0.5, inputs of 3x16x16, 3 classes" in loaded.notes[0]
    assert "0 cat, 1 dog, 2 eel" in loaded.notes[1]
    assert load(f"hf:{tmp_path / 'm'},mean=0,std=1").mean == (0.0,)
    with pytest.raises(InputError, match="takes inputs of shape 3x16x16, the data has 3x20x20"):
        load(f"hf:{tmp_path / 'm'}", shape=(3, 20, 20))


@needs_transformers
def test_a_network_of_any_size_takes_the_size_of_the_data(tmp_path):
    place = folder(tmp_path / "m", resnet(), do_center_crop=True, crop_size={"height": 24, "width": 24})
    assert load(f"hf:{place}").shape == (3, 24, 24)
    loaded = load(f"hf:{place}", shape=(3, 32, 32))
    assert loaded.shape == (3, 32, 32)
    assert "made for pictures of 24x24" in loaded.notes[-1]
    with pytest.raises(InputError, match="takes inputs of shape 3x24x24"):
        load(f"hf:{place}", shape=(1, 32, 32))


@needs_transformers
def test_what_is_not_a_whole_classifier_is_refused(tmp_path):
    network = vit()
    transformers.ViTModel(network.config).save_pretrained(tmp_path / "headless")
    (tmp_path / "headless" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    with pytest.raises(ModelError, match=r"lacks .* of the classifier's weights \(classifier.bias"):
        load(f"hf:{tmp_path / 'headless'}")
    network.save_pretrained(tmp_path / "bare")
    with pytest.raises(InputError, match=r"no preprocessor_config.json.*add mean=..,std="):
        load(f"hf:{tmp_path / 'bare'}")
    assert load(f"hf:{tmp_path / 'bare'},mean=0.5,std=0.5").mean == (0.5,)
    place = folder(tmp_path / "many", vit(problem_type="multi_label_classification"))
    with pytest.raises(InputError, match="does not choose one class of several"):
        load(f"hf:{place}")


def test_a_folder_of_timm_is_read_as_such(tmp_path, monkeypatch):
    def create_model(model_name, num_classes=1000, in_chans=3):
        return nn.Sequential(nn.Flatten(), nn.Linear(in_chans * 16, num_classes))

    timm = type(sys)("timm")
    vars(timm).update(is_model=lambda name: name == "tiny", list_models=list, create_model=create_model)
    monkeypatch.setitem(sys.modules, "timm", timm)
    cfg = {"mean": [0.5], "std": [0.25], "input_size": [1, 4, 4], "num_classes": 5}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "tiny", "num_classes": 5, "pretrained_cfg": cfg}))
    module = create_model("tiny", 5, 1)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "model.safetensors")
    loaded = load(f"hf:{tmp_path}")
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(loaded.classifier()(x), module((x - 0.5) / 0.25))
    assert (loaded.shape, loaded.classes) == ((1, 4, 4), 5)
    assert "mean=0.5, std=0.25, inputs of 1x4x4, 5 classes" in loaded.notes[-1]


def pipeline(b: torch.Tensor, document: dict) -> torch.Tensor:
    """Do to bytes what the pipeline does, step by step."""
    x = b.double()
    if document.get("do_rescale", True):
        x = x * document.get("rescale_factor", 1 / 255) - (1 if document.get("rescale_offset") else 0)
    if document.get("do_normalize", True):
        x = (x - document["image_mean"][0]) / document["image_std"][0]
        x = x / document["image_std"][0] if document.get("include_top") else x
    return x


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"do_normalize": False},
        {"do_rescale": False},
        {"rescale_factor": 1 / 127.5, "rescale_offset": True},
        {"rescale_factor": 1 / 127.5, "do_normalize": False, "rescale_offset": True},
        {"include_top": True},
    ],
)
def test_every_step_of_the_pipeline_is_in_the_normalisation(change, tmp_path):
    document = {"image_mean": [0.4], "image_std": [0.3], **change}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(document))
    read = read_preprocessor(tmp_path)
    b = torch.arange(256)
    assert torch.allclose((b.double() / 255 - read.mean[0]) / read.std[0], pipeline(b, document), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "size"),
    [
        ({"size": 224}, (224, 224)),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 24, "width": 32}}, (24, 32)),
        ({"size": {"shortest_edge": 256}, "crop_size": 3}, (256, 256)),
        ({"size": [8, 9]}, (8, 9)),
        ({}, None),
    ],
)
def test_sizes_are_read_in_all_their_forms(change, size, tmp_path):
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": change}))
    assert read_preprocessor(tmp_path).size == size


@pytest.mark.parametrize("content", ["{", "[1]", '{"image_mean": ["x"], "image_std": [1]}'])
def test_a_damaged_preprocessor_is_named(content, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(InputError, match="preprocessor_config.json cannot be read"):
        read_preprocessor(tmp_path)


def test_a_missing_library_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(MissingExtra, match=r"pip install 'epsball\[transformers\]'"):
        load(f"hf:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:{folder}/nowhere", "there is no folder"),
        ("hf:{folder}", "has no config.json"),
        ("hf:a/b,hidden=3", "hidden"),
    ],
)
def test_what_is_not_a_folder_of_a_model_is_named(name, words, tmp_path):
    with pytest.raises(InputError, match=words):
        load(name.format(folder=tmp_path))
