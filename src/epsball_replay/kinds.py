"""The kinds of node that are replayed and what their attributes must be: each is required, and no other is known."""

import math
from collections.abc import Callable
from typing import Any

Rule = Callable[[Any], bool]


def _whole(least: int) -> Rule:
    return lambda given: type(given) is int and given >= least


def _wholes(least: int) -> Rule:
    return lambda given: type(given) is list and all(map(_whole(least), given))


def _is(*types: type) -> Rule:
    return lambda given: type(given) in types


def _number(given: Any) -> bool:
    return type(given) in (int, float) and math.isfinite(given)


def _arguments(given: Any) -> bool:
    return type(given) is list and all(type(one) in (int, float) and not math.isnan(one) for one in given)


def _pairs(given: Any) -> bool:
    return _wholes(0)(given) and len(given) % 2 == 0


PADDING = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""The modes of padding, with the names that numpy has for them."""
_NAME, _OPTIONAL, _FLAG = _is(str), _is(str, type(None)), _is(bool)
_STEPS = {"stride": _wholes(1), "padding": _wholes(0), "dilation": _wholes(1), "output_padding": _wholes(0)}
_WINDOWS = {"kernel": _wholes(1), "stride": _wholes(1), "padding": _wholes(0), "ceil_mode": _FLAG}

ATTRIBUTES: dict[str, dict[str, Rule]] = {
    **{kind: {} for kind in ("Input", "Add", "Subtract", "Multiply", "Divide")},
    **{kind: {"axes": _wholes(0)} for kind in ("Sum", "Mean", "Max", "Permute")},
    **{kind: {"shape": _wholes(1)} for kind in ("Reshape", "Expand")},
    "Constant": {"parameter": _NAME},
    "Linear": {"weight": _NAME, "bias": _OPTIONAL},
    "Convolution": {"weight": _NAME, "bias": _OPTIONAL, "groups": _whole(1), "transposed": _FLAG, **_STEPS},
    "BatchNorm": {"mean": _NAME, "variance": _NAME, "weight": _OPTIONAL, "bias": _OPTIONAL, "eps": _number},
    "Elementwise": {"function": _NAME, "arguments": _arguments},
    "PReLU": {"slope": _NAME},
    "MaxPool": {**_WINDOWS, "dilation": _wholes(1)},
    "AveragePool": {**_WINDOWS, "count_include_pad": _FLAG, "divisor": lambda given: given is None or _whole(1)(given)},
    "AdaptiveAveragePool": {"size": _wholes(1)},
    "Concatenate": {"axis": _whole(0)},
    "Slice": {"axis": _whole(0), "start": _whole(0), "end": _whole(0), "step": _whole(1)},
    "Gather": {"axis": _whole(0), "index": _wholes(0)},
    "Pad": {"widths": _pairs, "mode": lambda given: given in PADDING, "value": _number},
}
"""By kind the rule of each attribute."""

_TAKEN = {"Input": 0, "Constant": 0, **dict.fromkeys(("Add", "Subtract", "Multiply", "Divide"), 2)}
"""Values that a node takes; of the kinds that are not here, one, and a Concatenate any number from one on."""

FUNCTIONS = {"relu": 0, "abs": 0, "negative": 0, "sigmoid": 0, "tanh": 0, "leaky_relu": 1, "clamp": 2}
"""Functions of one variable by name, with the number of their arguments."""


def fault(kind: Any, attributes: Any, inputs: Any) -> str | None:
    """Return what is wrong with a node's kind, attributes or number of inputs, or None."""
    if type(kind) is not str or kind not in ATTRIBUTES:
        return f"is a {kind}, which is not replayed"
    taken = max(len(inputs), 1) if kind == "Concatenate" else _TAKEN.get(kind, 1)
    if len(inputs) != taken:
        return f"of the kind {kind} takes {taken} value{'s' if taken != 1 else ''}; the file gives it {len(inputs)}"
    rules = ATTRIBUTES[kind]
    if type(attributes) is not dict or attributes.keys() != rules.keys():
        return f"is a {kind}, whose attributes are {', '.join(rules) or 'none'}; the file has {list(attributes)}"
    for name, rule in rules.items():
        if not rule(attributes[name]):
            return f"has {attributes[name]!r} as its {name}, which a {kind} cannot have"
    if kind == "Elementwise":
        function, arguments = attributes["function"], attributes["arguments"]
        if function not in FUNCTIONS:
            return f"is an Elementwise: function {function} is not replayed"
        if len(arguments) != FUNCTIONS[function] or (function == "leaky_relu" and math.isinf(arguments[0])):
            return f"has {arguments} as arguments of {function}"
        if function == "clamp" and (arguments[0] == math.inf or arguments[1] == -math.inf):
            return f"clamps to {arguments}"
    return None
