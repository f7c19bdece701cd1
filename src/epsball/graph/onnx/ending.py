"""The end of a file: which of its outputs is read, and what is taken off it so that logits remain."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from epsball.errors import InputError, ModelError
from epsball.graph import operations
from epsball.graph.builder import Builder
from epsball.graph.onnx.file import OnnxFile, onnx_package
from epsball.graph.value import Value

Function = Callable[[Tensor], Tensor]

READINGS = ("logits", "probabilities", "values")
"""What the rows of the output are to be: logits, with a final softmax taken off; probabilities, the file's own; or
the values that the file returns, of any shape and meaning, in row-major order."""

_FLOATS = (1, 10, 11)
_MOVES = ("Identity", "Cast", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "ZipMap")
_SCIKIT = "ai.onnx.ml"


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an output is read.

    Parameters
    ----------
    output
        Its name.
    nodes
        The nodes it needs, in order, without what is taken off.
    changed
        Whether these are not the file's own.
    taken
        What was taken off, for messages; empty if nothing was.
    scores
        The name of what it was taken off from.
    axis
        The axis of the softmax taken off.
    last
        The last operator of the file that does more than move entries.
    finish
        The function taken off, from rows of logits to what the file returns; None if nothing was.
    """

    output: str
    nodes: Sequence[Any]
    changed: bool = False
    taken: str = ""
    scores: str = ""
    axis: int | None = None
    last: str = ""
    finish: Function | None = None

    def fits(self, opset: int, value: Value) -> bool:
        """Return whether what was taken off worked on whole rows: a softmax of all scores, a sigmoid of the only one.

        Parameters
        ----------
        opset
            Version of the operators.
        value
            The scores.
        """
        entries = math.prod(value.example)
        if self.taken == "sigmoid":
            return entries == 1
        if self.axis is None:
            return True
        axis = self.axis % value.rank
        along = value.shape[axis] if opset >= 13 else math.prod(value.shape[axis:])
        return axis != value.axis and entries == along > 1


def chosen_output(file: OnnxFile, output: str | None) -> tuple[str, str, tuple[str, ...]]:
    """Return the name of the output to read, how it is read (one of `READINGS`), and notes on the choice.

    Parameters
    ----------
    file
        The file.
    output
        One of `READINGS`, a name, or NAME:READING; None reads the only output of scores, as logits.

    Raises
    ------
    InputError
        If there is no output of that name.
    ModelError
        If the file has several outputs of scores, or none, and none is named.
    """
    names = [given.name for given in file.graph.output]
    name, reading = _named(output, names)
    if name is None and output not in (None, *READINGS):
        raise InputError(
            f"{file.path} has no output {output!r}; its outputs are {', '.join(names)}. Write output=NAME, "
            f"output=NAME:probabilities, or one of {', '.join(READINGS)}."
        )
    scores = [given.name for given in file.graph.output if _may_be_scores(given)]
    if reading == "values" and not scores:
        scores = names
    if name is not None and name not in scores:
        raise ModelError(
            f"the output {name} of {file.path} is not a tensor of floats (class labels?); a classifier returns "
            f"scores. Outputs of scores: {', '.join(scores) or 'none'}."
        )
    if name is not None:
        return name, reading, ()
    if len(scores) != 1:
        raise ModelError(
            f"{file.path} has {len(names)} outputs ({', '.join(names)}), {len(scores)} of them of scores. A classifier "
            "maps one tensor to one tensor of logits: name it by output=NAME, or export it with scores as its output."
        )
    left = [other for other in names if other != scores[0]]
    notes = (f"the output {scores[0]} is read, and {', '.join(left)} left aside",) if left else ()
    return scores[0], reading, notes


def _named(output: str | None, names: Sequence[str]) -> tuple[str | None, str]:
    """Return the output that a text names, if it does, and the reading it asks for."""
    if output is None:
        return None, READINGS[0]
    if output in names:
        return output, output if output in READINGS else READINGS[0]
    name, _, reading = output.rpartition(":")
    reading = reading if reading in READINGS else READINGS[0]
    return name if name in names else None, reading


def _may_be_scores(given: Any) -> bool:
    """Return whether an output may hold scores: a tensor of floats, or scikit-learn's list of one dictionary each."""
    kind = given.type
    if kind.HasField("sequence_type"):
        return kind.sequence_type.elem_type.HasField("map_type")
    return kind.HasField("tensor_type") and kind.tensor_type.elem_type in _FLOATS


def endings(file: OnnxFile, output: str, reading: str) -> list[Ending]:
    """Return the ways to read an output, in the order in which they are tried.

    Raises
    ------
    InputError
        If probabilities are asked for and the file ends in no function that makes them.
    """
    nodes = list(file.graph.node)
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    passed, at = _walk_back(nodes, makers, output)
    last = nodes[makers[at]].op_type if at in makers else ""
    plain = _ending(nodes, output, {i: None for i in passed if nodes[i].op_type == "ZipMap"}, last=last)
    found = _taken_off(file, makers, at, passed)
    if reading == "probabilities" and found is None and output != reading:
        raise InputError(
            f"output=probabilities, but {file.path} ends in no softmax or sigmoid. Leave it out: output=logits."
        )
    if reading != READINGS[0] or found is None:
        return [plain]
    replaced, options = found
    dropped = {i: None for i in passed if nodes[i].op_type in ("ZipMap", "Normalizer")}
    return [_ending(nodes, output, {**dropped, **replaced}, last=last, **options), plain]


def _walk_back(nodes: Sequence[Any], makers: dict[str, int], name: str) -> tuple[list[int], str]:
    """Return the nodes between a tensor and the last one that computes it, which only move entries, and its result."""
    passed: list[int] = []
    while name in makers:
        node = nodes[makers[name]]
        normal = node.domain == _SCIKIT and node.op_type == "Normalizer" and _attribute(node, "norm", b"MAX") == b"L1"
        moves = node.op_type in _MOVES and (node.op_type != "Cast" or _attribute(node, "to", 1) in _FLOATS)
        if not (moves or normal):
            break
        passed.append(makers[name])
        name = node.input[0]
    return passed, name


Found = tuple[dict[int, Any], dict[str, Any]]


def _taken_off(file: OnnxFile, makers: dict[str, int], name: str, passed: Sequence[int]) -> Found | None:
    """Return the nodes that replace the function a file ends in, and what is known of it; None if it ends in none."""
    nodes, at = file.graph.node, makers.get(name)
    if at is None:
        return None
    node = nodes[at]
    if node.op_type == "Log" and nodes[makers.get(node.input[0], at)].op_type == "Softmax":
        inner = makers[node.input[0]]
        return {at: None, inner: None}, _softmax(file.opset, nodes[inner], "log-softmax", torch.log_softmax)
    if node.op_type == "Softmax":
        return {at: None}, _softmax(file.opset, node, "softmax", torch.softmax)
    if node.op_type == "LogSoftmax":
        return {at: None}, _softmax(file.opset, node, "log-softmax", torch.log_softmax)
    if node.op_type == "Sigmoid":
        return {at: None}, {"taken": "sigmoid", "scores": node.input[0], "finish": lambda z: torch.softmax(z, 1)[:, 1:]}
    if node.op_type == "LinearClassifier":
        return _linear_classifier(at, node, any(nodes[i].op_type == "Normalizer" for i in passed))
    return _complement(nodes, makers, at)


def _softmax(opset: int, node: Any, taken: str, function: Callable[..., Tensor]) -> dict[str, Any]:
    axis = _attribute(node, "axis", -1 if opset >= 13 else 1)
    return {"taken": taken, "scores": node.input[0], "axis": axis, "finish": lambda z: function(z, 1)}


def _complement(nodes: Sequence[Any], makers: dict[str, int], at: int) -> Found | None:
    """Return what replaces the pair (1 - p, p) of a sigmoid p."""
    node = nodes[at]
    if node.op_type != "Concat" or len(node.input) != 2:
        return None
    first, second = (nodes[makers[name]] if name in makers else None for name in node.input)
    if first is None or second is None or (first.op_type, second.op_type) != ("Sub", "Sigmoid"):
        return None
    if first.input[1] != node.input[1]:
        return None
    column = onnx_package().helper.make_node("Identity", [second.input[0]], [node.output[0]])
    known = {"taken": "sigmoid", "scores": second.input[0], "finish": lambda z: torch.softmax(z, 1)}
    return {at: column}, known


def _linear_classifier(at: int, node: Any, normal: bool) -> Found | None:
    """Return scikit-learn's linear classifier without the function of its scores."""
    function = _attribute(node, "post_transform", b"NONE")
    classes = len(_attribute(node, "intercepts", ()))
    if function not in (b"SOFTMAX", b"LOGISTIC"):
        return None
    bare = type(node)()
    bare.CopyFrom(node)
    for entry in bare.attribute:
        if entry.name == "post_transform":
            entry.s = b"NONE"
    known: dict[str, Any] = {"scores": node.output[1]}
    if function == b"SOFTMAX":
        known |= {"taken": "softmax", "finish": lambda z: torch.softmax(z, 1)}
    elif classes == 2:
        known |= {"taken": "sigmoid of two scores", "finish": lambda z: torch.softmax(z, 1)}
    else:
        share = (lambda z: torch.sigmoid(z) / torch.sigmoid(z).sum(1, keepdim=True)) if normal else torch.sigmoid
        known |= {"taken": "sigmoid per class", "finish": share}
    return {at: bare}, known


def _ending(nodes: Sequence[Any], output: str, replaced: dict[int, Any], **options: Any) -> Ending:
    """Return an ending whose nodes have some replaced, None standing for the first input itself."""
    helper = onnx_package().helper
    given = {
        i: helper.make_node("Identity", [nodes[i].input[0]], [nodes[i].output[0]]) if new is None else new
        for i, new in replaced.items()
    }
    final = [given.get(i, node) for i, node in enumerate(nodes)]
    needed, kept = {output}, []
    for node in reversed(final):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    return Ending(output=output, nodes=kept[::-1], changed=bool(replaced), **options)


def _attribute(node: Any, name: str, default: Any) -> Any:
    """Return an attribute of a node."""
    helper = onnx_package().helper
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """How what an output holds for one example becomes its row of logits.

    Parameters
    ----------
    kind
        ``"as they are"``, ``"column"``: one score z as (0, z); ``"last"``: two scores (-z, z) as (0, z);
        ``"share"``: one probability p as (1 - p, p).
    """

    kind: str

    def __call__(self, x: Tensor) -> Tensor:
        """Return rows (n, classes) of an output (n, k)."""
        if self.kind == "share":
            return torch.cat([1 - x, x], 1)
        return x if self.kind == "as they are" else torch.cat([torch.zeros_like(x[:, -1:]), x[:, -1:]], 1)

    def applied(self, builder: Builder, x: Value) -> Value:
        """Return them as a value of the graph."""
        if self.kind == "as they are":
            return x
        last = operations.take(builder, x, 1, x.shape[1] - 1, x.shape[1])
        other = builder.number(torch.zeros(1, 1))
        if self.kind == "share":
            other = operations.subtract(builder, builder.number(torch.ones(1, 1)), last)
        return operations.concatenate(builder, [other, last], 1)


def rows_of(file: OnnxFile, ending: Ending, width: int, reading: str) -> tuple[Rows, tuple[str, ...]]:
    """Return how an output of `width` entries per example is read, and notes on it.

    Raises
    ------
    ModelError
        If it has one entry and is a softmax, which is 1 at every input, or no score.
    """
    notes = (f"its final {ending.taken} is taken off: what is left are logits",) if ending.taken else ()
    if ending.taken == "sigmoid of two scores":
        return Rows(kind="last"), (*notes, "its two scores (-z, z) are read as the logits (0, z)")
    if width > 1 or reading == "values":
        return Rows(kind="as they are"), notes
    if reading == "probabilities":
        return Rows(kind="share"), ("its one probability p is read as the two (1 - p, p)",)
    if ending.last in ("Softmax", "LogSoftmax", "HardSigmoid", "Clip") and not ending.taken:
        raise ModelError(
            f"{file.path} returns one number per example, and ends in {ending.last}: which values are which class is "
            "not known. Export it with the score z before that, positive for the second class, or with two logits."
        )
    return Rows(kind="column"), (*notes, "its one score z is read as the two logits (0, z)")
