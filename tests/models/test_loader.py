import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from epsball.errors import InputError
from epsball.models import load
from epsball.pixels import from_8bit


def test_an_architecture_is_built_to_the_datas_measure_or_the_texts():
    assert load("cnn_a", shape=(3, 8, 8), classes=4).module(torch.rand(2, 3, 8, 8)).shape == (2, 4)
    loaded = load("mlp,hidden=9:5,shape=1x2x3,classes=2,std=63/255", classes=4)
    assert loaded.module(torch.rand(2, 1, 2, 3)).shape == (2, 2)
    assert (loaded.mean, loaded.std, loaded.shape, loaded.classes) == (None, (63 / 255,), (1, 2, 3), 2)
    assert (loaded.name, loaded.weights, loaded.card) == ("mlp", None, None)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("preactresnet18", InputError, "no architecture 'preactresnet18'. Did you mean 'preact_resnet18'"),
        ("cnn_a", InputError, "cnn_a needs 'shape' and 'classes': add ,shape=1x28x28,classes=10 .*taken from the data"),
        ("mlp,hiden=4", InputError, "no option 'hiden'. Did you mean 'hidden'"),
        ("mlp,hidden=4,shape=4,classes=2,ignore=head", InputError, "is about a file of weights, and none is named"),
        ("mlp@nowhere.pth,shape=4,classes=2", InputError, "no file nowhere.pth"),
        ("weights.safetensors", InputError, "NAME@weights.safetensors"),
        ("net.onnx", InputError, "no file net.onnx"),
        ("net.pt2", InputError, "no file net.pt2"),
        ("card.json", InputError, "no file card.json"),
        ("cnn_a,shape=1x8x8,classes=2,mean=a", InputError, "mean=a cannot be read"),
    ],
)
def test_what_names_no_model_is_explained(text, error, words):
    with pytest.raises(error, match=words):
        load(text)


def test_a_model_for_another_shape_is_refused():
    with pytest.raises(InputError, match="takes inputs of shape 1x28x28, the data has 1x8x8"):
        load("cnn_a,shape=1x28x28,classes=2", shape=(1, 8, 8))


def test_loading_does_not_touch_the_caller(tmp_path):
    torch.save(load("mlp", shape=(4,), classes=2).module.state_dict(), tmp_path / "w.pth")
    modes = torch.is_grad_enabled(), torch.get_default_dtype()
    module = load(f"mlp@{tmp_path / 'w.pth'}", shape=(4,), classes=2).module
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == modes
    assert module.training
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in module.parameters())


PUBLISHED = {
    "wong_kolter/mnist.pth": ("cnn_a", (1, 28, 28)),
    "mipverify_data/master_seed_1_epochs_100.pth": ("cnn_a", (1, 28, 28)),
    "abcrown/mnist_cnn_a_adv.model": ("cnn_a", (1, 28, 28)),
    "abcrown/cifar_cnn_a_adv.model": ("cnn_a", (3, 32, 32)),
    "abcrown/mnist_6_100_nat.pth": ("mlp,hidden=100:100:100:100:100", (1, 28, 28)),
    "abcrown/resnet2b.pth": ("published.py:resnet2b", (3, 32, 32)),
    "abcrown/cifar_marabou_small.pth": ("published.py:cifar_marabou_small", (3, 32, 32)),
    "abcrown/cifar_conv_small_sigmoid.pth": ("published.py:cifar_conv_small_sigmoid", (3, 32, 32)),
    "auto_lirpa/mnist_cnn_small.pth": ("published.py:mnist_cnn_small", (1, 28, 28)),
    "oval_bab/cifar_base_kw.pth": ("published.py:cifar_base_kw", (3, 32, 32)),
}


def images(shared: Path, dataset: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the test images in [0, 1] and their labels."""
    if dataset == "CIFAR-10":
        with np.load(shared / "data" / "cifar10" / "cifar10_test.npz") as arrays:
            return from_8bit(torch.from_numpy(arrays["images"])), torch.from_numpy(arrays["labels"].astype(np.int64))
    x, y = (
        np.frombuffer(gzip.decompress((shared / "data" / "mnist" / f"t10k-{name}-ubyte.gz").read_bytes()), np.uint8)
        for name in ("images-idx3", "labels-idx1")
    )
    return from_8bit(torch.tensor(x[16:].reshape(-1, 1, 28, 28))), torch.tensor(y[8:].astype(np.int64))


def published(shared: Path, file: str, name: str) -> str:
    """Return the text of a published network with the manifest's normalisation."""
    name, _, options = name.partition(",")
    builder = Path(__file__).parents[2] / "examples" / name if ".py:" in name else name
    manifest = json.loads((shared / "models" / "manifest.json").read_text())[file]["input_mean_std"]
    if isinstance(manifest, list):
        mean, std = (":".join(map(str, values)) for values in manifest)
        options += f",mean={mean},std={std}"
    return f"{builder}@{shared / 'models' / file},{options}".rstrip(",").replace(",,", ",")


@pytest.mark.parametrize("file", PUBLISHED)
def test_published_networks_load(file, shared):
    name, shape = PUBLISHED[file]
    loaded = load(published(shared, file, name), shape=shape, classes=10)
    with torch.no_grad():
        assert loaded.module(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize(
    ("file", "right"),
    [("wong_kolter/mnist.pth", 9_820), ("abcrown/cifar_marabou_small.pth", 6_302), ("abcrown/resnet2b.pth", 6_911)],
)
def test_published_natural_accuracy_to_the_image(file, right, shared):
    name, shape = PUBLISHED[file]
    manifest = json.loads((shared / "models" / "manifest.json").read_text())[file]
    loaded = load(published(shared, file, name), shape=shape, classes=10)
    x, y = images(shared, manifest["dataset"])
    classifier = loaded.classifier()
    correct = sum(
        int((classifier.logits(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), y.split(500), strict=True)
    )
    assert correct == right
    assert round(100 * right / len(x), 2) == manifest["clean_accuracy_measured"]


def test_the_network_in_numpy_files_is_read(shared):
    builder = Path(__file__).parents[2] / "examples" / "published.py"
    loaded = load(f"{builder}:rsl18a,folder={shared / 'models' / 'mipverify_data'}")
    x, y = images(shared, "MNIST")
    with torch.no_grad():
        assert int((loaded.module(x).argmax(1) == y).sum()) == 9_582
