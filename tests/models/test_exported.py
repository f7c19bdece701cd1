"""Exported programs: the same logits as the module's, and the messages of those that cannot be taken."""

from pathlib import Path

import pytest
import torch
from torch import nn

from epsball.errors import InputError, ModelError, UnsupportedOperation
from epsball.models import ARCHITECTURES, load
from epsball.models.exported_program import exported_module

ANY = {0: torch.export.Dim("batch")}


def export(path: Path, module: nn.Module, x: torch.Tensor, dynamic: object = ANY) -> Path:
    torch.export.save(torch.export.export(module, (x,), dynamic_shapes=(dynamic,)), path)
    return path


class Patches(nn.Module):
    """Attention over patches, with sizes computed from the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
        self.head = nn.Linear(8, 5)
        self.register_buffer("scale", torch.tensor(0.5), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, _, h, w = x.shape
        patches = self.embed(x * self.scale).reshape(n, -1, h * w // 16).transpose(1, 2)
        tokens = torch.cat([self.token.expand(n, -1, -1), patches], dim=1)
        first, _ = self.layer(tokens).split([1, h * w // 16], dim=1)
        return self.head(first.squeeze(1)).clamp(-1e3, float("inf"))


class Normed(nn.Module):
    """Convolution, group norm, gating by chunks, max with indices, batch norm on vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding="same")
        self.groups = nn.GroupNorm(2, 8)
        self.batch = nn.BatchNorm1d(4)
        self.weights = torch.tensor([1.0, 2.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.groups(self.convolution(x)).chunk(2, dim=1)
        gated = torch.sigmoid(a) * b
        largest, _ = gated.flatten(2).max(2)
        return self.batch(largest) * self.weights[0] + nn.functional.adaptive_avg_pool2d(gated, 1).flatten(1)


MODULES = {
    "patches": Patches,
    "normed": Normed,
    "cnn_a": lambda: ARCHITECTURES["cnn_a"]((3, 8, 8), 5),
}


@pytest.mark.parametrize("name", MODULES)
def test_logits_and_gradients_are_the_modules_own(name, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = MODULES[name]().eval()
    loaded = load(str(export(tmp_path / "m.pt2", module, torch.rand(2, 3, 8, 8))))
    reference = torch.export.load(tmp_path / "m.pt2").module()
    assert (loaded.shape, loaded.classes) == ((3, 8, 8), module(torch.rand(1, 3, 8, 8)).shape[1])
    for n in (1, 3):
        x = torch.rand(n, 3, 8, 8, requires_grad=True)
        logits, expected = loaded.module(x), reference(x)
        assert torch.equal(logits, expected)
        ours, theirs = (torch.autograd.grad(z.square().sum(), x)[0] for z in (logits, expected))
        assert torch.equal(ours, theirs)


def test_parameters_bear_their_names_and_can_be_frozen(tmp_path):
    module = exported_module(export(tmp_path / "m.pt2", nn.Sequential(nn.Linear(4, 3)), torch.rand(2, 4)))
    assert {name for name, _ in module.named_parameters()} == {"program.0.weight", "program.0.bias"}
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert module.eval() is module


def test_tied_weights_stay_tied(tmp_path):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x))

    module = exported_module(export(tmp_path / "m.pt2", Tied(), torch.rand(2, 4)))
    a, b = module.get_parameter("program.a.weight"), module.get_parameter("program.b.weight")
    assert a.data_ptr() == b.data_ptr()


class Twice(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x * 2


class Fixed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return x * 2


def test_what_is_not_a_classifier_of_any_batch_is_refused(tmp_path):
    x = torch.rand(2, 4)
    cases = [
        (nn.Linear(4, 3), {}, ModelError, "batches of exactly 2. Export it for any: torch.export.export"),
        (Twice(), ANY, ModelError, "2 outputs"),
        (nn.Flatten(0), ANY, ModelError, "returns 1 axes"),
        (Fixed(), ANY, UnsupportedOperation, "higher_order"),
    ]
    for module, dynamic, error, words in cases:
        with pytest.raises(error, match=words):
            exported_module(export(tmp_path / "m.pt2", module, x, dynamic))


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # PyTorch's own, when it copies a program
def test_a_program_exported_in_training_mode_is_refused(tmp_path):
    program = torch.export.export(nn.BatchNorm1d(4).train(), (torch.rand(2, 4),), dynamic_shapes=(ANY,))
    torch.export.save(program.run_decompositions(), tmp_path / "m.pt2")
    with pytest.raises(ModelError, match=r"training mode. Call model.eval\(\)"):
        exported_module(tmp_path / "m.pt2")


def test_inputs_it_was_not_exported_for_are_refused(tmp_path):
    dynamic = {0: torch.export.Dim("batch", max=8)}
    module = exported_module(export(tmp_path / "m.pt2", nn.Linear(4, 3), torch.rand(2, 4), dynamic))
    with pytest.raises(InputError, match="inputs of shape 4"):
        module(torch.rand(2, 5))
    with pytest.raises(InputError, match="at most 8"):
        module(torch.rand(9, 4))
    with pytest.raises(InputError, match=r"takes inputs of shape 4, the data has 5"):
        load(str(tmp_path / "m.pt2"), shape=(5,))


def test_a_whole_model_takes_no_weights_and_no_arguments(tmp_path):
    path = export(tmp_path / "m.pt2", nn.Linear(4, 3), torch.rand(2, 4))
    assert load(f"{path},mean=0.5,std=0.25").mean == (0.5,)
    for text, words in {f"{path}@w.pth": "leave out @w.pth", f"{path},meen=0.5": "Did you mean 'mean'"}.items():
        with pytest.raises(InputError, match=words):
            load(text)


def test_nan_parameters_are_named(tmp_path):
    module = nn.Linear(4, 3)
    module.bias.data[1] = torch.nan
    with pytest.raises(ModelError, match=r"parameter program.bias of .* NaN"):
        load(str(export(tmp_path / "m.pt2", module, torch.rand(2, 4))))
