"""Normalisation by what is computed from the example itself."""

from epsball.graph import decompositions
from epsball.graph.onnx.rule import Call, rule
from epsball.graph.value import Value


@rule("LayerNormalization")
def layer_norm(call: Call) -> Value:
    """Return x normalised over its axes from `axis` on, then scaled entry by entry."""
    x = call.value(0)
    axes = range(call.attribute("axis", -1) % x.rank, x.rank)
    normal = decompositions.normalise(call.builder, x, axes, float(call.attribute("epsilon", 1e-5)))
    bias = None if call.array(2) is None else call.value(2)
    return decompositions.scaled(call.builder, normal, call.value(1), bias)


@rule("InstanceNormalization")
def instance_norm(call: Call) -> Value:
    """Return x normalised per channel, over its own axes."""
    x = call.value(0)
    eps = float(call.attribute("epsilon", 1e-5))
    return decompositions.group_norm(call.builder, x, x.shape[1], call.value(1), call.value(2), eps)


@rule("GroupNormalization")
def group_norm(call: Call) -> Value:
    """Return x normalised over groups of channels."""
    if call.opset < 21:
        call.builder.refuse("it has one scale per group before operator set 21; export with a newer one")
    eps = float(call.attribute("epsilon", 1e-5))
    groups = call.attribute("num_groups")
    return decompositions.group_norm(call.builder, call.value(0), groups, call.value(1), call.value(2), eps)


@rule("MeanVarianceNormalization")
def mean_variance_norm(call: Call) -> Value:
    """Return (x - mean) / (standard deviation + 1e-9) over axes, that constant inside the root as 1e-18."""
    axes = call.attribute("axes", (0, 2, 3))
    return decompositions.normalise(call.builder, call.value(), axes, 1e-18)


@rule("LpNormalization")
def lp_norm(call: Call) -> Value:
    """Return x divided by its norm of order 1 or 2 over an axis."""
    axis, order = call.attribute("axis", -1), call.attribute("p", 2)
    return decompositions.divided_by_norm(call.builder, call.value(), order, (axis,))


@rule("LRN")
def local_response_norm(call: Call) -> Value:
    """Return x divided by a power of the squares in nearby channels."""
    alpha, beta, bias = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75), call.attribute("bias", 1.0)
    return decompositions.local_response(call.builder, call.value(), call.attribute("size"), alpha, beta, bias)
