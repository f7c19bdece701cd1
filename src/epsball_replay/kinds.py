"""The kinds of node that are replayed and what their attributes must be: each is required, and no other is known."""

import math
from collections.abc import Callable
from typing import Any

Rule = Callable[[Any], bool]


def _whole(least: int) -> Rule:
    return lambda given: type(given) is int and given >= least


def _list(rule: Rule) -> Rule:
    return lambda given: type(given) is list and all(map(rule, given))


def _is(*types: type) -> Rule:
    return lambda given: type(given) in types


def _number(given: Any) -> bool:
    return type(given) in (int, float) and not math.isnan(given)


def _finite(given: Any) -> bool:
    return _number(given) and math.isfinite(given)


PADDING = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""The modes of padding, with the names that numpy has for them."""
_NAME, _OPTIONAL, _FLAG = _is(str), _is(str, type(None)), _is(bool)
LENGTHS, _COUNTS = _list(_whole(1)), _list(_whole(0))
_STEPS = {"stride": LENGTHS, "padding": _COUNTS, "dilation": LENGTHS, "output_padding": _COUNTS}
_WINDOWS = {"kernel": LENGTHS, "stride": LENGTHS, "padding": _COUNTS, "ceil_mode": _FLAG}

ATTRIBUTES: dict[str, dict[str, Rule]] = {
    **{kind: {} for kind in ("Input", "Add", "Subtract", "Multiply", "Divide")},
    **{kind: {"axes": _COUNTS} for kind in ("Sum", "Mean", "Max", "Permute")},
    **{kind: {"shape": LENGTHS} for kind in ("Reshape", "Expand")},
    "Constant": {"parameter": _NAME},
    "Linear": {"weight": _NAME, "bias": _OPTIONAL},
    "Convolution": {"weight": _NAME, "bias": _OPTIONAL, "groups": _whole(1), "transposed": _FLAG, **_STEPS},
    "BatchNorm": {"mean": _NAME, "variance": _NAME, "weight": _OPTIONAL, "bias": _OPTIONAL, "eps": _finite},
    "Elementwise": {"function": _NAME, "arguments": _list(_number)},
    "PReLU": {"slope": _NAME},
    "MaxPool": {**_WINDOWS, "dilation": LENGTHS},
    "AveragePool": {**_WINDOWS, "count_include_pad": _FLAG, "divisor": lambda given: given is None or _whole(1)(given)},
    "AdaptiveAveragePool": {"size": LENGTHS},
    "Concatenate": {"axis": _whole(0)},
    "Slice": {"axis": _whole(0), "start": _whole(0), "end": _whole(0), "step": _whole(1)},
    "Gather": {"axis": _whole(0), "index": _COUNTS},
    "Pad": {"widths": lambda n: _COUNTS(n) and not len(n) % 2, "mode": PADDING.__contains__, "value": _finite},
}
"""By kind the rule of each attribute."""

_TAKEN = {"Input": 0, "Constant": 0, **dict.fromkeys(("Add", "Subtract", "Multiply", "Divide"), 2)}
"""Values that a node takes; of the kinds that are not here, one, and a Concatenate any number from one on."""

FUNCTIONS: dict[str, Rule] = {
    **dict.fromkeys(("relu", "abs", "negative", "sigmoid", "tanh"), lambda given: not given),
    "leaky_relu": lambda given: len(given) == 1 and math.isfinite(given[0]),
    "clamp": lambda given: len(given) == 2 and given[0] < math.inf and given[1] > -math.inf,
}
"""Functions of one variable by name, with the rule of their arguments."""


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
        if function not in FUNCTIONS or not FUNCTIONS[function](arguments):
            return f"is an Elementwise: {function} is not replayed with the arguments {arguments}"
    return None
