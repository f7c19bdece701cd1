"""A witness in the form of its query's standard: as text, or as serialised tensors."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from epsball.files import write_atomically
from epsball.graph.onnx.file import onnx_package
from epsball.verification.vnnlib import Query, TensorDeclaration
from epsball.verification.witness import Witness


def assignment_text(query: Query, witness: Witness) -> str:
    """Return a witness as text, each number as the exact decimal or the shortest one that reads as the same float64.

    Version 1.0: one expression of pairs, as the competitions of the field take it. Version 2.0: for the input and the
    output a line of name, element type and shape, then one line per entry.
    """
    x, y = witness.x.double().flatten().tolist(), witness.outputs
    if query.version == "1.0":
        pairs = [f"(X_{i} {_decimal(v)})" for i, v in enumerate(x)] + [
            f"(Y_{i} {_decimal(v)})" for i, v in enumerate(y)
        ]
        return "(" + "\n ".join(pairs) + ")"
    return "\n".join([*_tensor_lines(query.input, x), *_tensor_lines(query.output, y)])


def write_assignment(query: Query, witness: Witness, folder: Path) -> None:
    """Write a witness as files NAME.pb of serialised ONNX tensors, in the network's type and the declared shapes."""
    helper = onnx_package().numpy_helper
    array = witness.x.numpy()
    for declared, values in ((query.input, array), (query.output, np.asarray(witness.outputs, dtype=array.dtype))):
        tensor = helper.from_array(values.reshape(declared.shape), declared.name)
        write_atomically(folder / f"{declared.name}.pb", tensor.SerializeToString())


def _tensor_lines(declared: TensorDeclaration, values: Sequence[float]) -> list[str]:
    shape = ",".join(map(str, declared.shape))
    return [f"{declared.name} {declared.element} [{shape}]", *map(_decimal, values)]


def _decimal(value: float) -> str:
    """Return a float64 as decimal digits without an exponent, which the standards' grammars do not have."""
    return np.format_float_positional(value, trim="0")
