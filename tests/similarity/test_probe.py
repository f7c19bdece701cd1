"""Which modules run, in which order, and along which axis the rows lie."""

import pytest
import torch
from torch import Tensor, nn

from epsball.errors import InputError, ModelError
from epsball.similarity import cka, layer_names
from epsball.similarity.network import network
from similarity.networks import Folded, Mixed, Padded, ResNet, SequenceFirst, seeded


def test_names_are_in_execution_order_and_number_the_calls_of_reused_modules():
    model, x = seeded(ResNet), torch.randn(6, 3, 6, 6)
    names = layer_names(model, x)
    block = ["conv1", "bn1", "relu:1", "conv2", "bn2", "relu:2"]
    parts = [f"{stage}.{part}" for stage in ("layer1.0", "layer1.1", "layer2.0") for part in block]
    assert names == ["stem", *parts, "pool", "fc"]


def test_stages_of_a_residual_network():
    assert layer_names(seeded(ResNet), torch.randn(6, 3, 6, 6), "stages") == ["stem", "layer1", "layer2", "pool", "fc"]


def test_stages_look_inside_a_wrapper():
    wrapped = nn.Sequential(seeded(ResNet))
    names = layer_names(wrapped, torch.randn(6, 3, 6, 6), "stages")
    assert names == ["0.stem", "0.layer1", "0.layer2", "0.pool", "0.fc"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (["layer2.*.conv?", "fc"], ["layer2.0.conv1", "layer2.0.conv2", "fc"]),
        ("layer1.0.relu", ["layer1.0.relu:1", "layer1.0.relu:2"]),
        ("*relu:2", ["layer1.0.relu:2", "layer1.1.relu:2", "layer2.0.relu:2"]),
        (["layer1", "layer1.1"], ["layer1.1", "layer1"]),
    ],
)
def test_patterns(choice, expected):
    assert layer_names(seeded(ResNet), torch.randn(6, 3, 6, 6), choice) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (["layer1.0.conv3"], r"no layer of model is called 'layer1.0.conv3'. Did you mean 'layer1.0.conv[12]'"),
        (["unused"], r"layer 'unused' never runs in model"),
        ([], r"layers is \[\]; give"),
    ],
)
def test_unknown_layers_are_named(choice, message):
    with pytest.raises(InputError, match=message):
        layer_names(seeded(ResNet), torch.randn(6, 3, 6, 6), choice)


def test_dictionaries_tuples_and_dataclasses():
    model, x = seeded(Mixed), torch.randn(12, 6)
    assert layer_names(model, x) == ["pair/0", "pair/1.square", "named.inner", "named/hidden"]
    found = cka(model, nn.Identity(), x, layers="pair/0", layers_b="output")
    assert float(found.matrix) == pytest.approx(1.0, abs=1e-6)


def test_sequence_first_rows_are_found_and_what_has_no_rows_is_noted():
    model, x = seeded(SequenceFirst), torch.randn(40, 5, 6)
    found = cka(model, model, x)
    assert "embed" in found.layers_a
    assert "block.norm1" in found.layers_a
    assert "table" not in found.layers_a
    assert any("'table' has no feature vector per row" in note for note in found.notes)
    features = model.eval().embed(x).flatten(1)
    direct = cka(nn.Identity(), model, features.detach(), x, layers_b="embed")
    assert float(direct.matrix) == pytest.approx(1.0, abs=1e-6)


def test_folded_rows_are_unfolded_in_the_order_they_have():
    model, x = seeded(Folded), torch.randn(50, 5, 6)
    consecutive = model.consecutive(x).flatten(1).detach()
    interleaved = model.interleaved(model.consecutive(x)).flatten(1).detach()
    for layer, features in (("consecutive", consecutive), ("interleaved", interleaved)):
        found = cka(nn.Identity(), model, features, x, layers="output", layers_b=layer)
        assert float(found.matrix) == pytest.approx(1.0, abs=1e-6)


def test_outputs_that_repeat_their_input_are_not_layers():
    model = nn.Sequential(
        nn.Linear(6, 4), nn.Identity(), nn.Dropout(), nn.Unflatten(1, (2, 2)), nn.Flatten(), nn.ReLU()
    )
    assert layer_names(model, torch.randn(8, 6)) == ["0", "5"]
    assert layer_names(nn.Identity(), torch.randn(8, 6)) == ["output"]


def test_the_output_of_the_network_is_a_layer_if_it_differs_from_the_last_one():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x).log_softmax(1)

    assert layer_names(Scaled(), torch.randn(8, 6)) == ["fc", "output"]


def test_a_layer_that_runs_only_sometimes_is_named():
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 3), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            out = self.first(x)
            return self.second(out) if len(x) < 5 else out

    with pytest.raises(ModelError, match="layer 'second' did not run on a batch of 20 rows"):
        cka(Sometimes(), Sometimes(), torch.randn(20, 6))


def test_graphs_that_hide_their_modules_are_refused():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    exported = torch.export.export(model, (torch.randn(4, 6),), dynamic_shapes=({0: torch.export.Dim("n")},))
    with pytest.raises(ModelError, match="exported graphs hide their modules"):
        layer_names(exported.module(), torch.randn(8, 6))


def test_an_input_of_the_wrong_shape_is_explained():
    with pytest.raises(ModelError, match=r"the model fails on an input of shape \(4, 5\)"):
        layer_names(nn.Linear(6, 2), torch.randn(8, 5))


def test_attention_runs_unfused_whatever_is_observed_and_its_switch_is_restored():
    model, x = seeded(Padded), torch.randn(30, 5, 8)
    assert layer_names(model, x, "stages") == ["encoder", "head"]
    everything = cka(model, model, x)
    some = ["encoder.layers.1.linear2", "head"]
    places = [everything.layers_a.index(name) for name in some]
    torch.testing.assert_close(cka(model, model, x, layers=some).matrix, everything.matrix[places][:, places])
    assert torch.backends.mha.get_fastpath_enabled()


def test_compiled_parts_and_inference_mode_show_the_same_layers():
    model, x = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(5, 3)), torch.randn(8, 6)
    with torch.inference_mode():
        assert layer_names(model, x) == ["0", "1", "3"]
    model[1].compile(backend="eager")
    assert layer_names(model, x) == ["0", "1", "3"]


def test_parts_that_cannot_be_observed_are_named():
    with pytest.raises(ModelError, match="module '0' has lazy parameters"):
        layer_names(nn.Sequential(nn.LazyLinear(3)), torch.randn(8, 6))


def test_empty_outputs_and_computed_weights_are_not_layers():
    class Empty(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"all": 2 * x, "none": x[:, :0]}

    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), Empty())
    found = cka(model, model, torch.randn(20, 6), layers="all")
    assert found.layers_a == ("0", "1/all")
    assert [note for note in found.notes if "parametrizations" in note] == []
    assert any("'1/none' has no feature vector per row" in note for note in found.notes)


def test_a_name_with_characters_of_patterns_is_itself():
    model = nn.Sequential()
    model.add_module("block[0]", nn.Linear(6, 3))
    assert layer_names(model, torch.randn(8, 6), ["block[0]"]) == ["block[0]"]


def test_inputs_are_moved_to_a_device_of_the_network():
    """The device meta serves as another one: nothing is computed."""
    model = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    x = torch.randn(4, 2)
    assert network(model).to_model(x).device == x.device
    assert network(model[0]).to_model(x).device == torch.device("meta")
