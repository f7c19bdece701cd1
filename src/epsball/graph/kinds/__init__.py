"""The kinds of node, about thirty: every captured network consists of these."""

from epsball.graph.kinds.affine import BatchNorm, Convolution, Linear
from epsball.graph.kinds.arithmetic import Add, Divide, MatMul, Maximum, Minimum, Multiply, Subtract
from epsball.graph.kinds.choosing import Compare, Round, Select
from epsball.graph.kinds.elementwise import FUNCTIONS, Elementwise, PReLU, refused_arguments
from epsball.graph.kinds.kind import Kind, Parameters
from epsball.graph.kinds.pooling import AdaptiveAveragePool, AveragePool, LogSoftmax, Max, MaxPool, Mean, Softmax, Sum
from epsball.graph.kinds.shaping import Concatenate, Expand, Gather, Pad, Permute, Reshape, Slice, Upsample
from epsball.graph.kinds.sources import Constant, Input

KINDS: dict[str, type[Kind]] = {
    kind.__name__: kind
    for kind in (
        *(Input, Constant),
        *(Linear, Convolution, BatchNorm),
        *(Add, Subtract, Multiply, Divide, MatMul, Maximum, Minimum),
        *(Elementwise, PReLU, Compare, Select, Round),
        *(MaxPool, AveragePool, AdaptiveAveragePool, Sum, Mean, Max, Softmax, LogSoftmax),
        *(Reshape, Permute, Expand, Concatenate, Slice, Gather, Pad, Upsample),
    )
}
"""Each kind by the name it has in files."""

__all__ = ["FUNCTIONS", "KINDS", "Kind", "Parameters", "refused_arguments", *KINDS]  # pyright: ignore[reportUnsupportedDunderAll]
