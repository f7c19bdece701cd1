"""The rule table: one rule per kind that is not affine."""

from epsball.certificates.rules.choosing import Comparison, Selection
from epsball.certificates.rules.log_softmax import LogSoftmaxRule
from epsball.certificates.rules.maxima import Extremum, Maxima
from epsball.certificates.rules.pointwise import Pointwise, Rectifier
from epsball.certificates.rules.products import MatrixProduct, Product, Quotient
from epsball.certificates.rules.rounding import WholeNumbers
from epsball.certificates.rules.rule import Rule
from epsball.certificates.rules.softmax import SoftmaxRule
from epsball.errors import UnsupportedOperation
from epsball.graph import Node
from epsball.graph.kinds import (
    Compare,
    Divide,
    Elementwise,
    Kind,
    LogSoftmax,
    MatMul,
    Max,
    Maximum,
    MaxPool,
    Minimum,
    Multiply,
    PReLU,
    Round,
    Select,
    Softmax,
)

RULES: dict[type[Kind], Rule] = {
    Elementwise: Pointwise(),
    PReLU: Rectifier(),
    MaxPool: Maxima(),
    Max: Maxima(),
    Maximum: Extremum(sign=1.0),
    Minimum: Extremum(sign=-1.0),
    Multiply: Product(),
    Divide: Quotient(),
    MatMul: MatrixProduct(),
    Compare: Comparison(),
    Select: Selection(),
    Round: WholeNumbers(),
    Softmax: SoftmaxRule(),
    LogSoftmax: LogSoftmaxRule(),
}


def rule_of(node: Node) -> Rule:
    """Return the rule of a node's kind.

    Raises
    ------
    UnsupportedOperation
        If there is none, with the kind and where the node comes from.
    """
    rule = RULES.get(type(node.kind))
    if rule is None:
        raise UnsupportedOperation(
            f"no certificate rule for {type(node.kind).__name__} (node '{node.name}', {node.origin or 'no origin'}); "
            f"there are rules for {', '.join(kind.__name__ for kind in RULES)} and the affine kinds."
        )
    return rule
