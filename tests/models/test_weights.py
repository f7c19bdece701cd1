import copy
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from epsball.errors import ModelError
from epsball.models.weights import load_weights


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def fresh(net: nn.Module) -> nn.Module:
    other = copy.deepcopy(net)
    for tensor in other.state_dict().values():
        tensor.zero_()
    return other


def same(a: nn.Module, b: nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def wrappings(state: dict[str, Tensor]) -> dict[str, object]:
    parallel = {f"module.{key}": tensor for key, tensor in state.items()}
    optimiser = {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    return {
        "plain": state,
        "ordered": OrderedDict(state),
        "nested": {"state_dict": state, "epoch": 3, "optimizer": optimiser},
        "in a list": {"acc": torch.tensor(96), "net": [state]},
        "a list": [state, {"0.weight": torch.zeros(2)}],
        "parallel": parallel,
        "nested parallel": {"model": parallel},
        "old": {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")},
    }


@pytest.mark.parametrize("kind", wrappings({}))
def test_a_state_dict_is_found_wherever_it_lies(kind, net, tmp_path):
    other = fresh(net)
    load_weights(other, saved(tmp_path / "w.pth", wrappings(net.state_dict())[kind]), "net")
    other.get_buffer("2.num_batches_tracked").copy_(net.get_buffer("2.num_batches_tracked"))
    assert same(net, other)


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats_of_torch_save_are_read(legacy, net, tmp_path):
    other, path = fresh(net), tmp_path / "w.model"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    load_weights(other, path, "net")
    assert same(net, other)


def test_safetensors_are_read(net, tmp_path):
    other, path = fresh(net), tmp_path / "w.safetensors"
    safetensors.torch.save_file(net.state_dict(), path)
    load_weights(other, path, "net")
    assert same(net, other)


def test_half_precision_is_widened_exactly(net, tmp_path):
    other = fresh(net)
    half = {key: t.half() if t.is_floating_point() else t for key, t in net.state_dict().items()}
    load_weights(other, saved(tmp_path / "w.pth", half), "net")
    assert torch.equal(other.get_parameter("1.weight"), half["1.weight"].float())


def test_entries_without_use_are_left_out_by_name(net, tmp_path):
    other = fresh(net)
    state = {**net.state_dict(), "sub_block1.0.weight": torch.zeros(2), "sub_block1.0.bias": torch.zeros(1)}
    path = saved(tmp_path / "w.pth", state)
    with pytest.raises(ModelError, match=r"2 unexpected \(sub_block1.0.weight, .*ignore=sub_block1"):
        load_weights(other, path, "net")
    load_weights(other, path, "net", ignore=("sub_block1",))
    assert same(net, other)
    with pytest.raises(ModelError, match="unexpected"):
        load_weights(other, path, "net", ignore=("sub_block1", "sub_block2"))


PREFIXES = ["module.", "_orig_mod.", "model.", "module._orig_mod.", "_orig_mod.module.", "model._orig_mod.module."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_wrappers_are_looked_through_in_the_file_and_in_the_module(prefix, net, tmp_path):
    path = saved(tmp_path / "w.pth", {"state_dict": {f"{prefix}{key}": t for key, t in net.state_dict().items()}})
    other = fresh(net)
    (note,) = load_weights(other, path, "net")
    assert same(net, other)
    assert f"{prefix}1.weight was read as 1.weight" in note
    outer = nn.ModuleDict({"model": fresh(net)})
    load_weights(outer, path, "net")
    assert same(net, outer)
    assert load_weights(outer, saved(tmp_path / "plain.pth", net.state_dict()), "net") != ()


def test_wrappers_inside_the_network_are_looked_through(net, tmp_path):
    inner = nn.ModuleDict({"features": nn.DataParallel(net), "head": nn.Linear(3, 2)})
    other = fresh(nn.ModuleDict({"features": net, "head": inner["head"]}))
    path = saved(tmp_path / "w.pth", {f"module.{key}": t for key, t in inner.state_dict().items()})
    load_weights(other, path, "net")
    assert same(inner, other)
    load_weights(inner, saved(tmp_path / "bare.pth", other.state_dict()), "net")


def test_entries_beside_a_wrapped_network_are_left_out_by_name(net, tmp_path):
    state = {**{f"module.{key}": t for key, t in net.state_dict().items()}, "n_averaged": torch.tensor(3)}
    path, other = saved(tmp_path / "w.pth", state), fresh(net)
    with pytest.raises(ModelError, match="unexpected"):
        load_weights(other, path, "net")
    load_weights(other, path, "net", ignore=("n_averaged",))
    assert same(net, other)


def test_weights_that_fit_as_they_stand_bring_no_note(net, tmp_path):
    assert load_weights(fresh(net), saved(tmp_path / "w.pth", net.state_dict()), "net") == ()


def wrong(state: dict[str, Tensor]) -> dict[str, tuple[object, str]]:
    def changed(**entries: Tensor | None) -> dict[str, Tensor]:
        merged = {**state, **{key.replace("_", "."): tensor for key, tensor in entries.items()}}
        return {key: tensor for key, tensor in merged.items() if tensor is not None}

    nan, infinite = state["1.weight"].clone(), state["1.weight"].clone()
    nan[0, 0], infinite[1, 1] = torch.nan, torch.inf
    return {
        "missing": (changed(**{"1_bias": None}), r"1 missing \(1.bias\). Check the architecture"),
        "unexpected": (changed(head=torch.zeros(1)), r"1 unexpected \(head\).*ignore=head"),
        "shape": (changed(**{"4_weight": torch.zeros(7, 4)}), r"4.weight: file 7x4, model 3x4"),
        "prefix of some": ({f"module.{key}" if "1" in key else key: t for key, t in state.items()}, "missing"),
        "several": ({"state_dict": state, "ema": dict(state)}, "2 state dicts that fit net: /state_dict, /ema"),
        "none": ({"epoch": 3}, "does not hold a state dict"),
        "nan": (changed(**{"1_weight": nan}), "1.weight in .* has 1 of 32 values that are NaN"),
        "infinite": (changed(**{"1_weight": infinite}), "has 1 of 32 values"),
        "double": (changed(**{"1_weight": state["1.weight"].double()}), "float64 .* would be rounded"),
        "integers": (changed(**{"1_weight": state["1.weight"].long()}), "int64 .* would be rounded"),
        "sparse": (changed(**{"1_weight": state["1.weight"].to_sparse()}), "not a plain tensor"),
    }


@pytest.mark.parametrize("kind", wrong({"1.weight": torch.zeros(4, 8)}))
def test_what_does_not_fit_is_described_and_changes_nothing(kind, net, tmp_path):
    content, words = wrong(net.state_dict())[kind]
    other = fresh(net)
    with pytest.raises(ModelError, match=words):
        load_weights(other, saved(tmp_path / "w.pth", content), "net")
    assert same(other, fresh(net))


def test_an_infinity_that_the_module_was_built_with_is_not_damage(tmp_path):
    module = nn.Linear(2, 2)
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    path = saved(tmp_path / "w.pth", module.state_dict())
    load_weights(module, path, "net")
    module.get_buffer("mask").zero_()
    with pytest.raises(ModelError, match="mask in"):
        load_weights(module, path, "net")
