import numpy as np
import pytest
import torch
from onnx import helper

from epsball.attacks import attack
from epsball.ball import Ball
from epsball.certificates import certify
from epsball.classifier import Classifier
from epsball.errors import EpsballError, InputError, MissingExtra, NoGradientError, UnsupportedOperation
from epsball.models import load
from graph.onnx_models import save, weights, with_head

RUNS = ("graph", "onnxruntime")


@pytest.fixture
def net(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    return with_head(tmp_path / "net.onnx", nodes, {"w": weights(4, 2, 3, 3)}, (1, 5, 5, 2), 36)


def test_an_onnx_file_is_a_model(net):
    loaded = load(f"{net},mean=0.5,std=0.2")
    assert (loaded.shape, loaded.classes, loaded.mean, loaded.std) == ((5, 5, 2), 3, (0.5,), (0.2,))
    assert loaded.weights == net
    assert loaded.module(torch.rand(4, 5, 5, 2)).shape == (4, 3)


def test_an_onnx_file_can_be_attacked(net):
    loaded = load(f"{net},shape=2x5x5")
    x = torch.rand(20, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    classifier = Classifier(loaded.module)
    y = classifier(x).argmax(1)
    result = attack(classifier, x, y, Ball("linf", 0.3))
    assert result.broken.any()
    assert (classifier(result.x_adv[result.broken]).argmax(1) != y[result.broken]).all()


def test_channels_last_are_moved_for_data_with_channels_first(net):
    moved, plain = load(str(net), shape=(2, 5, 5)), load(str(net), shape=(5, 5, 2))
    x = torch.rand(3, 2, 5, 5)
    assert torch.equal(moved.module(x), plain.module(x.permute(0, 2, 3, 1)))
    assert "moved last" in moved.notes[0]
    assert not plain.notes


@pytest.mark.parametrize(("shape", "words"), [((5, 2, 5), "say so: shape=5x2x5"), ((1, 7, 7), "the data has 1x7x7")])
def test_another_shape_than_the_data_is_refused(net, shape, words):
    with pytest.raises(InputError, match=f"takes inputs of shape 5x5x2.*{words}"):
        load(str(net), shape=shape)


@pytest.mark.parametrize("option", ["classes=3", "hidden=4"])
def test_options_of_other_models_are_refused(net, option):
    with pytest.raises(InputError, match="a whole model"):
        load(f"{net},{option}")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named(net, monkeypatch, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtra, match=rf"'{package}'.*epsball\[onnx\]"):
        load(str(net))


def test_a_file_of_any_operators_runs_in_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nodes = [helper.make_node("Acos", ["x"], ["s"]), helper.make_node("Sub", ["x", "s"], ["y"])]
    path = with_head(tmp_path / "net.onnx", nodes, {}, ("n", 2, 5, 5), 50)
    with pytest.raises(UnsupportedOperation, match=r"Acos in net.onnx, node s: .*run=onnxruntime"):
        load(str(path))
    loaded = load(f"{path},run=onnxruntime", shape=(2, 5, 5))
    assert (loaded.shape, loaded.classes) == ((2, 5, 5), 3)
    assert "without gradients" in loaded.notes[-1]
    classifier = loaded.classifier()
    x = torch.rand(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    y = classifier(x).argmax(1)
    result = attack(classifier, x, y, Ball("linf", 0.4), method="square,queries=100")
    assert (classifier(result.x_adv[result.broken]).argmax(1) != y[result.broken]).all()
    with pytest.raises(NoGradientError, match="square"):
        attack(classifier, x, y, Ball("linf", 0.4), method="pgd,steps=2")
    with pytest.raises(EpsballError, match="run by onnxruntime and has no graph"):
        certify(classifier, x, y, Ball("linf", 0.01))
    with pytest.raises(InputError, match="run=fast is not a way"):
        load(f"{path},run=fast")


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_onnxruntime_and_the_graph_read_a_file_alike(tmp_path, monkeypatch, output, batch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["s"]),
        helper.make_node("Softmax", ["s"], ["z"]),
    ]
    arrays = {"flat": np.array([1, -1], dtype=np.int64), "w": weights(50, 3)}
    path = save(tmp_path / "net.onnx", nodes, arrays, (batch, 5, 5, 2))
    through_graph, through_runtime = (load(f"{path},output={output},run={run}", shape=(2, 5, 5)) for run in RUNS)
    x = torch.rand(6, 2, 5, 5)
    assert torch.allclose(through_graph.module(x), through_runtime.module(x), atol=1e-5)
    assert any("example by example" in note for note in through_runtime.notes) == (batch == "n")
    assert any("written for one example" in note for note in through_graph.notes) == (batch == "n")
