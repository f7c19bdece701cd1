"""What `epsball verify` supports, in the words of the VNN-LIB standard's solver interface."""

from importlib.util import find_spec

from epsball.errors import lookup
from epsball.graph.onnx.file import onnx_package

THEORIES = {
    "hidden-node-theories": ("NH",),
    "multiple-input-output-theories": ("SIO",),
    "multiple-network-theories": ("SNET",),
    "multiple-node-comparison-theories": ("SNC", "MNC"),
    "arithmetic-complexity-theories": ("BND", "OUTC", "LIN * every input needs a lower and an upper bound as well"),
    "optimised-disjunctive-reasoning": ("false",),
    "serialise-assignments": ("true",),
}

CAPABILITIES = ("onnx-opset-versions", "onnx-element-types", "onnx-operators", "vnnlib-versions", *THEORIES)
"""What can be asked."""


def supported(capability: str) -> tuple[str, ...]:
    """Return the lines that answer a question of the standard.

    Raises
    ------
    InputError
        If the capability is unknown.
    MissingExtra
        If onnx, which knows its operators, is not installed.

    Examples
    --------
    >>> supported("onnx-element-types")
    ('float32', 'real')
    """
    lookup(dict.fromkeys(CAPABILITIES), capability, "capability")
    if capability in THEORIES:
        return THEORIES[capability]
    if capability == "onnx-element-types":
        return ("float32", "real")
    if capability == "vnnlib-versions":
        return ("1.0", "2.0" if find_spec("vnnlib") else "1.0")
    onnx = onnx_package()
    if capability == "onnx-opset-versions":
        return ("7", str(onnx.defs.onnx_opset_version()))
    from epsball.graph.onnx.importer import RULES

    return tuple(sorted(name for name in (*RULES, "Constant") if onnx.defs.has(name, "")))
