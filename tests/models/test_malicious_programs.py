"""Exported programs that would run code in ``torch.export.load``: refused, or the code is never reached."""

import copy
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from epsball.errors import EpsballError
from epsball.models.exported_program import exported_module

JSON = "m/models/model.json"
WEIGHTS = "m/data/weights/model_weights_config.json"
CONSTANTS = "m/data/constants/model_constants_config.json"


@pytest.fixture(scope="module")
def members() -> dict[str, bytes]:
    """Return the members of a good program's archive."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU())
    program = torch.export.export(module, (torch.rand(2, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    file = io.BytesIO()
    torch.export.save(program, file)
    with zipfile.ZipFile(file) as archive:
        return {"m/" + name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def edited(members: dict[str, bytes], name: str, edit: Callable[[Any], None]) -> dict[str, bytes]:
    document = json.loads(members[name])
    edit(document)
    return {**members, name: json.dumps(document).encode()}


def torch_saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def pickled_weight(members, trap):
    def edit(document):
        document["config"]["1.bias"]["use_pickle"] = True

    return {**edited(members, WEIGHTS, edit), "m/data/weights/weight_1": torch_saved(trap.system)}


def constant(prefix: str):
    def make(members, trap):
        def edit(document):
            meta = {"path_name": f"{prefix}_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
            document["config"]["secret"] = meta

        return {**edited(members, CONSTANTS, edit), f"m/data/constants/{prefix}_0": pickle.dumps(trap.system)}

    return make


def node(**fields: object):
    return lambda members, trap: edited(
        members, JSON, lambda document: document["graph_module"]["graph"]["nodes"][0].update(copy.deepcopy(fields))
    )


def call(target: str, text: str = "x"):
    argument = {"name": "command", "arg": {"as_string": text}, "kind": 1}
    return node(target=target, inputs=[argument], name="flatten")


def keyword(members, trap):
    injected = {"name": f"start_dim=[{trap.code}] or 1, end_dim", "arg": {"as_int": 1}, "kind": 2}
    return edited(members, JSON, lambda d: d["graph_module"]["graph"]["nodes"][0]["inputs"].append(injected))


def weight_name(members, trap):
    name = f'a").x, [{trap.code}], getattr(self, "b'

    def rename(document):
        document["config"][name] = document["config"].pop("1.bias")

    changed = edited(members, WEIGHTS, rename)
    return {**changed, JSON: members[JSON].replace(b'"1.bias"', json.dumps(name).encode())}


PICKLED = "is a pickled object, which could run code"
NO_OPERATOR = "which is not an operator of PyTorch's aten library"
REFUSED = {
    "weight to unpickle": (pickled_weight, f"'1.bias' {PICKLED}"),
    "weights in one pickle": (
        lambda members, trap: {**members, "m/data/weights/model.pt": torch_saved(trap.system)},
        r"data/weights/model.pt was not read: it names .*system",
    ),
    "constants in one pickle": (
        lambda members, trap: {**members, "m/data/constants/model.pt": torch_saved({"c": trap.exec})},
        "data/constants/model.pt was not read: it names exec",
    ),
    "custom object": (constant("custom_obj"), PICKLED),
    "opaque object": (constant("opaque_obj"), PICKLED),
    "compiled code": (
        lambda members, trap: {**members, "m/data/aotinductor/model/x.so": b"\x7fELF"},
        "holds compiled code",
    ),
    "os.system by name": (call("torch.os.system"), NO_OPERATOR),
    "a function of torch": (call("torch.hub.load"), NO_OPERATOR),
    "a class of torch.ops": (call("torch.ops.aten.__class__.mro"), NO_OPERATOR),
    "an attribute of an operator": (call("torch.ops.aten.relu.__call__"), NO_OPERATOR),
    "another attribute of an operator": (call("torch.ops.aten.relu.op"), NO_OPERATOR),
    "a method of operator": (call("_operator.methodcaller"), NO_OPERATOR),
    "a file opened by an operator": (call("torch.ops.aten.from_file.default"), NO_OPERATOR),
    "an operator of another library": (call("torch.ops.fb.run.default"), NO_OPERATOR),
    "a higher-order operator": (call("torch.ops.higher_order.cond"), NO_OPERATOR),
    "code in a keyword": (keyword, "passes .* to torch.ops.aten.flatten"),
    "code in a weight's name": (weight_name, "is not the name of a tensor"),
    "a dictionary for a number": (
        node(inputs=[{"name": "self", "arg": {"as_int": {"__reduce__": 1}}, "kind": 1}]),
        "does not hold a well-formed graph",
    ),
    "leaves the archive": (lambda members, trap: {**members, "m/../../x": b""}, "leaves the archive"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_program_that_needs_more_than_numbers_and_aten_is_refused(kind, members, trap, tmp_path):
    make, words = REFUSED[kind]
    path = write(tmp_path / "m.pt2", make(members, trap))
    with pytest.raises(EpsballError, match=words):
        exported_module(path)
    assert not trap.sprung


def test_tensors_saved_together_as_by_older_versions_are_read(members, tmp_path):
    good = exported_module(write(tmp_path / "good.pt2", members))
    state = {name.removeprefix("program."): tensor for name, tensor in good.state_dict().items()}
    folders = {"m/data/weights/model.pt": torch_saved(state), "m/data/constants/model.pt": torch_saved({})}
    old = {name: content for name, content in members.items() if not name.startswith(("m/data/w", "m/data/c"))}
    module = exported_module(write(tmp_path / "m.pt2", old | folders))
    x = torch.rand(3, 4)
    assert torch.equal(module(x), good(x))


def expression(members, trap):
    text = members[JSON].decode()
    begin = text.index('"expr_str": "') + len('"expr_str": "')
    end = text.index('"', begin)
    symbol = text[begin:end]
    code = json.dumps(f"exec({trap.code!r})")[1:-1]
    first, rest = text[: end + 1], text[end + 1 :]
    return {**members, JSON: (first + rest.replace(symbol, code)).encode()}


def everywhere(members, trap):
    """Put code into all that is written for people and tools: stack traces, names, guards, tree specs."""
    text = f"x\r\n{trap.code}\n"

    def edit(document):
        module = document["graph_module"]
        document["guards_code"] = [f"({trap.code} or True)"]
        for item in module["graph"]["nodes"]:
            item["metadata"] = {"stack_trace": text, "nn_module_stack": text, "torch_fn": text, "custom": text}
            item["name"] = text
        module["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(
            [1, {"type": "builtins.dict", "context": '{"__enum__": 1, "fqn": "antigravity:x"}', "children_spec": []}]
        )
        module["metadata"] = {"custom": text}

    return edited(members, JSON, edit)


NEVER_REACHED = {
    "sample inputs": lambda m, trap: {**m, "m/data/sample_inputs/model.pt": torch_saved(trap.system)},
    "extra files": lambda m, trap: {**m, "m/extra/x.py": trap.code.encode()},
    "symbolic expressions": expression,
    "names, guards, stack traces, tree specs": everywhere,
}


@pytest.mark.parametrize("kind", NEVER_REACHED)
def test_what_is_not_needed_is_never_read(kind, members, trap, tmp_path):
    good = exported_module(write(tmp_path / "good.pt2", members))
    module = exported_module(write(tmp_path / "m.pt2", NEVER_REACHED[kind](members, trap)))
    x = torch.rand(3, 4)
    assert torch.equal(module(x), good(x))
    assert not trap.sprung


def test_that_expression_would_run_in_torch(members, trap, tmp_path):
    path = write(tmp_path / "m.pt2", expression(members, trap))
    with pytest.raises(Exception, match="."):
        torch.export.load(path)
    assert trap.sprung


def leaves(value: Any, path: tuple[Any, ...] = ()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield path
    for key, item in items:
        yield from leaves(item, (*path, key))


CHANGES = {
    "place": st.integers(0, 10**6),
    "value": st.sampled_from([None, 0, -1, "x", "training", [], {}, [[]], 10**30]),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
@given(**CHANGES)
def test_a_changed_entry_never_gives_another_error_than_ours(place, value, members, tmp_path):
    check_changed(place, value, members, tmp_path)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=500)
@given(**CHANGES)
def test_no_changed_entry_of_many_gives_another_error_than_ours(place, value, members, tmp_path):
    check_changed(place, value, members, tmp_path)


def check_changed(place, value, members, tmp_path):
    document = json.loads(members[JSON])
    paths = [path for path in leaves(document) if path]
    *way, last = paths[place % len(paths)]
    owner = document
    for key in way:
        owner = owner[key]
    owner[last] = value
    path = write(tmp_path / "m.pt2", {**members, JSON: json.dumps(document).encode()})
    try:
        module = exported_module(path)
    except EpsballError:
        return
    assert isinstance(module, nn.Module)
