"""Which methods of certificates can run on a model: each is tried on a few examples, unless it would take too long."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from epsball.auditing.checking.result import MethodFinding
from epsball.ball import Ball
from epsball.certificates import METHODS, Certification, Domain, Problem, Verifier, arithmetic_of
from epsball.classifier import Classifier
from epsball.data import Dataset, as_pixels
from epsball.errors import EpsballError
from epsball.graph.kinds import Elementwise, PReLU

FEW = 8
"""Examples that methods are tried on."""

MOST_SECONDS = 2.0
"""Seconds above which a method is not tried."""

_SOLVERS = ("lp", "lp-tight", "sdp", "complete")
"""Methods whose passes do not say how long they take."""

_MOST_SOLVED = 300
"""Entries of nonlinear nodes above which those are not tried."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """A network and the examples that methods are tried on.

    Parameters
    ----------
    classifier, verifier, ball
        The model, its captured network, and the perturbation set.
    x, y
        The examples.
    problem
        What is bounded.
    """

    classifier: Classifier
    verifier: Verifier
    ball: Ball
    x: Tensor
    y: Tensor
    problem: Problem

    @classmethod
    def of(cls, classifier: Classifier, dataset: Dataset, ball: Ball) -> "Tried":
        """Capture the network; take the first examples.

        Raises
        ------
        ModelError, UnsupportedOperation, AssumptionError
            If there can be no certificates.
        """
        x, y = dataset[:FEW]
        x, arithmetic = as_pixels(x), arithmetic_of("float32")
        verifier = Verifier.of(classifier, tuple(dataset.shape), arithmetic)
        places = verifier.places(classifier.logits(x).argmax(1).cpu())
        problem = Problem.of(verifier.bounded, Domain.of(ball, x), places, arithmetic=arithmetic)
        return cls(classifier=classifier, verifier=verifier, ball=ball, x=x, y=y, problem=problem)

    def methods(self) -> Iterator[MethodFinding]:
        """Yield for each method whether it can run, and what it costs per example, cheapest first."""
        pace = 0.0
        for name in METHODS:
            found = self._tried(name, pace)
            if found.runs == "runs" and found.passes and found.seconds is not None and name != "interval":
                pace = found.seconds / found.passes
            yield found

    def _tried(self, name: str, pace: float) -> MethodFinding:
        """Return whether a method can run: it bounds the examples, unless it would take too long at `pace` per pass."""
        method = METHODS[name]
        automatic = method.fits(self.verifier.bounded, self.ball.norm)
        try:
            passes = int(method.cost(self.problem).max())
            if passes * pace * len(self.x) > MOST_SECONDS or (name in _SOLVERS and self._entries > _MOST_SOLVED):
                known = None if name in _SOLVERS else passes * pace
                return MethodFinding(name=name, runs="not tried", automatic=automatic, passes=passes, seconds=known)
            _, seconds = self._run((name,), passes)
        except EpsballError as error:
            return MethodFinding(name=name, runs="cannot run", automatic=automatic, why=str(error))
        return MethodFinding(name=name, runs="runs", automatic=automatic, passes=passes, seconds=seconds)

    @property
    def _entries(self) -> int:
        """Entries of the nonlinear nodes."""
        nodes = self.verifier.bounded.nodes
        return sum(math.prod(node.shape) for node in nodes if isinstance(node.kind, Elementwise | PReLU))

    def _run(self, names: tuple[str, ...], most: int | None) -> tuple[int, float]:
        """Run methods on the examples; return passes and seconds per example."""
        begun = time.perf_counter()
        options = {"budget": most, "cpu_seconds": MOST_SECONDS}
        run = Certification(verifier=self.verifier, ball=self.ball, methods=names, **options)
        found = run.certificates(self.classifier, self.x, self.y)
        return round(float(found.passes.double().mean())), (time.perf_counter() - begun) / len(self.x)

    def cascade(self, methods: Sequence[MethodFinding], most: int | None) -> tuple[int, float, bool]:
        """Return passes and seconds per example of the cascade within so many passes, and whether they were measured.

        They are where that takes seconds; else they are those of an example that gets every method.
        """
        own = [method for method in methods if method.automatic and method.runs != "cannot run"]
        passes, seconds, names = 0, 0.0, []
        for method in own:
            if method.passes is not None and (most is None or passes + method.passes <= most):
                passes, seconds = passes + method.passes, seconds + (method.seconds or 0.0)
                names.append(method.name)
        if not names or seconds * len(self.x) > 2 * MOST_SECONDS:
            return passes, seconds, not names
        return *self._run(tuple(names), passes), True
