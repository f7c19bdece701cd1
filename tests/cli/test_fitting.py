import numpy as np
import pytest

from epsball.cli import main
from epsball.cli.fitting import fitting
from epsball.data import load

OWN = """
import torch
class NHWC(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
    def forward(self, x):
        return self.linear(x.movedim(-1, 1).movedim(1, -1)).mean((1, 2)) if x.shape[-1] == 3 else x.bad
def nhwc():
    return NHWC()
def convolution():
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(2 * 676, 2))
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    random = np.random.default_rng(0)
    np.savez(tmp_path / "grey.npz", images=random.integers(0, 256, (6, 28, 28), np.uint8), labels=np.arange(6) % 2)
    np.savez(tmp_path / "colour.npz", x=random.random((6, 8, 8, 3), np.float32), y=np.arange(6) % 2)
    return tmp_path


@pytest.mark.parametrize(
    ("model", "data", "shape"),
    [
        ("{}/own.py:convolution", "grey", (1, 28, 28)),
        ("small_cnn", "grey", (1, 28, 28)),
        ("mlp", "grey", (28, 28)),
        ("mlp", "colour", (3, 8, 8)),
        ("{}/own.py:nhwc", "colour", (8, 8, 3)),
        ("{}/own.py:convolution", "colour", (3, 8, 8)),
        ("nothing", "grey", (28, 28)),
    ],
)
def test_data_come_in_the_layout_that_the_model_takes(model, data, shape, own):
    source = load(f"npz:{own / data}.npz")
    fitted = fitting(model.format(own), source, 0)
    assert fitted.shape == shape
    x, _ = fitted[2:5]
    assert x.shape[1:] == shape
    stored = np.load(own / f"{data}.npz")["images" if data == "grey" else "x"][2:5]
    assert np.array_equal(x.movedim(1, -1).numpy() if shape == (3, 8, 8) else x.reshape(stored.shape), stored)


def test_what_was_inferred_is_printed_beside_the_result(own, capsys):
    text = f"npz:{own / 'grey.npz'}"
    assert main(["attack", f"{own}/own.py:convolution", text, "--ball", "linf:0.1", "--method", "pgd,steps=2"]) == 0
    said = capsys.readouterr()
    assert "note: " not in said.out
    assert "images are 'images', labels 'labels'" in said.err
    assert "has no channels; the model takes one, which is added" in said.err
