"""The methods: interval, crown-ibp, forward, crown and optimised (alpha-CROWN) bounds on a specification."""

from jaxtyping import Float
from torch import Tensor

from epsball.certificates.linear import refiner
from epsball.certificates.linear.coefficients import Coefficients
from epsball.certificates.linear.forward import examples_at_once, forward_refiner
from epsball.certificates.linear.refinement import slope_choices
from epsball.certificates.linear.sweep import final_bounds, sweep
from epsball.certificates.problem import LowerBounds, Problem, old_calls_too
from epsball.certificates.propagation import Propagation
from epsball.certificates.slopes.final import Schedule, optimised_slopes, with_slopes
from epsball.certificates.slopes.intermediate import with_intermediate_slopes
from epsball.graph.kinds import Parameters

STEPS = 10
"""Steps of `optimised`."""


@old_calls_too
def interval(problem: Problem, *, parameters: Parameters | None = None) -> LowerBounds:
    """Bound by intervals, with the specification folded into the last layer.

    With `PLAIN` arithmetic and live parameters, in place of the graph's own, the result is differentiable in them.

    References
    ----------
    Gowal et al., "On the effectiveness of interval bound propagation for training verifiably robust models"
    (2018).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, interval
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> interval(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    bounds = problem.propagate(parameters=parameters)
    return LowerBounds(rows=interval_rows(bounds, problem.specification), boxes=bounds.boxes)


def interval_rows(bounds: Propagation, specification: Float[Tensor, "n r classes"]) -> Float[Tensor, "n r"]:
    """Return lower bounds of a specification folded into the last layer, from the boxes before it."""
    last = bounds.graph[bounds.graph.output]
    stop = last.inputs if bounds.form(last) is not None else (last.name,)
    return sweep(bounds, last.name, Coefficients(specification), stop=stop)


@old_calls_too
def crown_ibp(problem: Problem, *, parameters: Parameters | None = None) -> LowerBounds:
    """Bound by one backward sweep of the specification, with intermediate bounds from intervals.

    References
    ----------
    Zhang et al., "Towards stable and efficient training of verifiably robust neural networks" (ICLR 2020).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, crown_ibp
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> crown_ibp(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    return _swept(problem, problem.propagate(parameters=parameters))


@old_calls_too
def crown(problem: Problem) -> LowerBounds:
    """Bound by backward sweeps, of the specification and of every intermediate neuron that needs it.

    References
    ----------
    Zhang et al., "Efficient neural network robustness certification with general activation functions"
    (NeurIPS 2018); Singh et al., "An abstract domain for certifying neural networks" (POPL 2019).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, crown
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> crown(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    return _swept(problem, problem.propagate(refine=refiner(problem.max_memory)))


def wong_kolter(problem: Problem) -> LowerBounds:
    """Bound like `crown`, with every rectifier's lower line parallel to the chord above it: their dual network.

    For an unstable z in [l, u], u z / (u - l) <= relu(z) <= u (z - l) / (u - l). The dual network's value is what the
    backward sweep with these lines computes, of neurons too. (Intervals, which it does not use, bound a neuron here
    where they are tighter.)

    References
    ----------
    Wong and Kolter, "Provable defenses against adversarial examples via the convex outer adversarial polytope"
    (ICML 2018), theorem 1 and algorithm 1.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, wong_kolter
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> wong_kolter(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    bounds = problem.propagate(refine=refiner(problem.max_memory, lower="parallel"))
    [parallel] = slope_choices(bounds, "parallel")
    shape = problem.specification.shape[:2]
    slopes = {name: slope.expand(*shape, *slope.shape[2:]) for name, slope in parallel.items()}
    rows = final_bounds(bounds, problem.specification, slopes=slopes, max_memory=problem.max_memory)
    return LowerBounds(rows=rows, boxes=bounds.boxes, slopes=slopes)


@old_calls_too
def forward(problem: Problem) -> LowerBounds:
    """Bound by one backward sweep of the specification, with intermediate bounds from linear functions of the input.

    Intermediate bounds are carried forward where a node has more unstable neurons than the input has entries; at
    other nodes they are those of `crown`.

    References
    ----------
    Xu et al., "Automatic perturbation analysis for scalable certified robustness and beyond" (NeurIPS 2020).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, forward
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> forward(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    many = examples_at_once(problem.graph, problem.max_memory)
    if len(problem) > many:
        parts = [forward(problem.take(slice(start, start + many))) for start in range(0, len(problem), many)]
        return LowerBounds.joined(parts, problem.graph)
    return _swept(problem, problem.propagate(refine=forward_refiner(problem.max_memory)))


@old_calls_too
def optimised(problem: Problem, *, steps: int = STEPS, step_size: float = 0.25, tightest: bool = False) -> LowerBounds:
    """Bound like `crown`, then optimise the lower slopes of every rectifier, one for each row (alpha-CROWN).

    Any slopes give a bound that holds: the ascent runs without error terms, and its best slopes are
    bounded once with them. Never below `crown`.

    Parameters
    ----------
    problem
        What is bounded.
    steps, step_size
        Steps of Adam, and the size of the first; it decays to a tenth.
    tightest
        Whether slopes of intermediate bounds are optimised for every row of every example. By default they are for
        examples that may become stable by them, and for their rows that are not positive.

    References
    ----------
    Xu et al., "Fast and complete: enabling complete verification with rapid and massively parallel incomplete
    verifiers" (ICLR 2021).

    Examples
    --------
    >>> import torch, epsball as eb
    >>> from epsball.certificates import Domain, Problem, optimised
    >>> from epsball.graph import capture
    >>> domain = Domain.of(eb.Ball("linf", "1/10"), torch.tensor([[0.8, 0.3]]))
    >>> problem = Problem.of(capture(torch.nn.ReLU(), (2,)), domain, torch.tensor([0]))
    >>> optimised(problem).rows
    tensor([[0.3000]], dtype=torch.float64)
    """
    specification, memory, schedule = problem.specification, problem.max_memory, Schedule(steps, step_size)
    bounds = problem.propagate(refine=refiner(memory, lower="every"))
    without = final_bounds(bounds, specification, max_memory=memory)
    slopes = optimised_slopes(bounds, specification, schedule, memory)
    found = with_slopes(bounds, problem, slopes, without)
    return with_intermediate_slopes(bounds, problem, found, without, schedule, tightest=tightest)


def _swept(problem: Problem, bounds: Propagation) -> LowerBounds:
    """Return the bounds of one backward sweep of the specification, given bounds on every node."""
    rows = final_bounds(bounds, problem.specification, max_memory=problem.max_memory)
    return LowerBounds(rows=rows, boxes=bounds.boxes)
