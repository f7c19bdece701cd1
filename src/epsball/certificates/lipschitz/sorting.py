"""Sorted pairs: nodes that together permute their input's entries, and so move no further than it does."""

from epsball.graph import Graph, Node, kinds


def sorted_pair(node: Node, graph: Graph) -> str | None:
    """Return the node whose entries `node` sorts in pairs, or None.

    The pattern is concatenate(max(a, b), min(a, b)) of two disjoint slices a and b of one node: taken one by
    one, maximum, minimum and concatenation would count each entry twice. Sorting moves no two points apart.
    """
    if not isinstance(node.kind, kinds.Concatenate) or len(node.inputs) != 2:
        return None
    greater, less = (graph[name] for name in node.inputs)
    if {type(greater.kind), type(less.kind)} != {kinds.Maximum, kinds.Minimum}:
        return None
    if set(greater.inputs) != set(less.inputs):
        return None
    first, second = (graph[name] for name in greater.inputs)
    return first.inputs[0] if _disjoint(first, second) else None


def _disjoint(first: Node, second: Node) -> bool:
    a, b = first.kind, second.kind
    if not (isinstance(a, kinds.Slice) and isinstance(b, kinds.Slice)) or first.inputs != second.inputs:
        return False
    return a.axis == b.axis and not set(range(a.start, a.end, a.step)) & set(range(b.start, b.end, b.step))
