"""`Rows`: the comparisons of a property as linear functions of a network's output and input, in floats."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from epsball.ball.exact import float_below
from epsball.graph import Graph, Node, kinds
from epsball.verification.vnnlib import Comparison


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Functions v_k = W_k . y + V_k . x + b_k, one per comparison v_k <= 0.

    The floats W and V are nearest to the exact coefficients, b is rounded down.

    Parameters
    ----------
    comparisons
        The comparisons, exactly.
    over_output, over_input
        W, (k, outputs), and V, (k, inputs), float64; V is None where no comparison has inputs.
    constant
        b, (k,), float64.
    """

    comparisons: tuple[Comparison, ...]
    over_output: Tensor
    over_input: Tensor | None
    constant: Tensor

    @classmethod
    def of(cls, comparisons: Sequence[Comparison], inputs: int, outputs: int) -> "Rows":
        """Return the rows of comparisons about a network with so many inputs and outputs."""
        k = len(comparisons)
        over = {"X": torch.zeros(k, inputs, dtype=torch.float64), "Y": torch.zeros(k, outputs, dtype=torch.float64)}
        for row, one in enumerate(comparisons):
            for (side, place), coefficient in one.form.terms:
                over[side][row, place] = float(coefficient)
        constant = [float_below(one.form.constant, torch.float64) for one in comparisons]
        return cls(
            comparisons=tuple(comparisons),
            over_output=over["Y"],
            over_input=over["X"] if bool(over["X"].any()) else None,
            constant=torch.tensor(constant, dtype=torch.float64),
        )

    def __len__(self) -> int:
        return len(self.comparisons)

    def values(self, x: Float[Tensor, "n *shape"], y: Float[Tensor, "n outputs"]) -> Float[Tensor, "n k"]:
        """Return v, in the type of y: rounded, for searches."""
        found = y @ self.over_output.T.to(y.dtype) + self.constant.to(y.dtype)
        return found if self.over_input is None else found + x.flatten(1) @ self.over_input.T.to(y.dtype)

    def scales(self) -> Float[Tensor, " k"]:
        """Return the sum of the sizes of each row's coefficients, at least the least normal float."""
        size = self.over_output.abs().sum(dim=1)
        size = size if self.over_input is None else size + self.over_input.abs().sum(dim=1)
        return size.clamp(min=torch.finfo(torch.float32).tiny)

    def lowered(self, x_size: Float[Tensor, " inputs"], y_size: Float[Tensor, " outputs"]) -> "Rows":
        """Return rows that are nowhere above the exact functions, where entries of x and y have at most these sizes.

        b_k loses sum_v |c_v - float(c_v)| |v| for each coefficient c_v that is not a float; computed exactly.
        """
        sizes = {"X": x_size, "Y": y_size}
        constant = self.constant.clone()
        for row, one in enumerate(self.comparisons):
            lost = Fraction(0)
            for (side, place), coefficient in one.form.terms:
                off = abs(coefficient - Fraction(float(coefficient)))
                if off:
                    size = sizes[side][place].item()
                    if not size < torch.inf:
                        lost = None
                        break
                    lost += off * Fraction(size)
            if lost is None:
                constant[row] = -torch.inf
            elif lost:
                constant[row] = float_below(one.form.constant - lost, torch.float64)
        return replace(self, constant=constant)

    def appended_to(self, graph: Graph) -> Graph:
        """Return the network followed by these functions, as one more linear layer: its outputs are v."""
        nodes, parameters = list(graph.nodes), dict(graph.parameters)
        weight, last = self.over_output, graph.output
        if self.over_input is not None:
            shape = (self.over_input.shape[1],)
            nodes.append(
                Node(name="property_input", kind=kinds.Reshape(shape=shape), inputs=(graph.input.name,), shape=shape)
            )
            both = (graph.classes + shape[0],)
            names = (graph.output, "property_input")
            nodes.append(Node(name="property_joined", kind=kinds.Concatenate(axis=0), inputs=names, shape=both))
            weight, last = torch.cat([weight, self.over_input], dim=1), "property_joined"
        kind = kinds.Linear(weight="property.weight", bias="property.bias")
        nodes.append(Node(name="property", kind=kind, inputs=(last,), shape=(len(self),), origin="the property"))
        deployed = all(tensor.dtype == torch.float32 for tensor in graph.parameters.values())
        own = {"property.weight": weight, "property.bias": self.constant}
        parameters |= {name: _in_float32(tensor) if deployed else tensor for name, tensor in own.items()}
        return replace(graph, nodes=tuple(nodes), output="property", parameters=parameters)


def _in_float32(tensor: Tensor) -> Tensor:
    """Return numbers in float32 if all of them are float32 ones, and as they are otherwise."""
    narrow = tensor.float()
    return narrow if torch.equal(narrow.double(), tensor) else tensor
