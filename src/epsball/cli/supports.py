"""``epsball supports`` and ``epsball --name``: the VNN-LIB standard's questions to a solver."""

from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import Output
from epsball.errors import InputError

NAME = "epsball"


def solver_name() -> Output:
    """Print the solver's name, as the VNN-LIB standard asks for it."""
    return Output(NAME)


_Asked = Annotated[bool, Parameter(negative=(), help="Print it.")]


def supports(
    *,
    onnx_opset_versions: _Asked = False,
    onnx_element_types: _Asked = False,
    onnx_operators: _Asked = False,
    vnnlib_versions: _Asked = False,
    hidden_node_theories: _Asked = False,
    multiple_input_output_theories: _Asked = False,
    multiple_network_theories: _Asked = False,
    multiple_node_comparison_theories: _Asked = False,
    arithmetic_complexity_theories: _Asked = False,
    optimised_disjunctive_reasoning: _Asked = False,
    serialise_assignments: _Asked = False,
) -> Output:
    """Say which queries and networks epsball verify takes.

    The option names one capability of the VNN-LIB standard, as in epsball supports --onnx-operators.
    """
    asked = [name.replace("_", "-") for name, value in locals().items() if value]
    if len(asked) != 1:
        raise InputError(f"{len(asked)} capabilities are asked for; name one, as in --onnx-element-types.")
    from epsball.verification import supported

    return Output("\n".join(supported(asked[0])))
