"""Certificates: rigorous lower bounds on what a captured network computes over N(x).

How the pieces fit
------------------
A method is a function of one signature::

    method(graph, domain, specification, *, arithmetic=FLOAT32, boxes=None, max_memory=None) -> LowerBounds

- `graph` is an `epsball.graph.Graph`; its parameters are taken in float64.
- `domain` is `Domain.of(ball, x)`: a superset of N(x) for each of n examples, rounded outward.
- `specification`, (n, rows, classes), says which linear functions of the logits are bounded;
  `margins(predicted, classes)` gives z_p - z_j for every j other than p, in the order of j, and
  `by_class` spreads the result to (n, classes) with infinity at p.
- `arithmetic` is the claim: `REAL` (the real-valued network) or `FLOAT32` (the deployed one);
  `PLAIN` leaves every error term out and proves nothing.
- `boxes` are bounds on nodes that another method found for the same domain and arithmetic; they
  are intersected with, so that a cascade pays for them once.
- `max_memory`, in bytes, bounds the rows that are carried at a time.

The methods are `interval`, `lipschitz`, `crown_ibp`, `forward`, `crown` and `optimised`, by name in `METHODS`.
`LowerBounds.rows` is the result, (n, rows); `LowerBounds.boxes` are the bounds on every node that
the relaxations stand on, and `LowerBounds.slopes` the lower slopes of every rectifier that was
free to choose one, which together are what a replay needs.

`check_deployment` says whether a float32 claim can be made of a module on this machine at all.
"""

from epsball.certificates.arithmetic import FLOAT32, PLAIN, REAL, Arithmetic, arithmetic_of
from epsball.certificates.box import Box
from epsball.certificates.certify import Certification, Verifier, certify
from epsball.certificates.deployment import check_deployment
from epsball.certificates.domain import Domain
from epsball.certificates.lipschitz import LipschitzConstants, lipschitz, lipschitz_constants
from epsball.certificates.methods import LowerBounds, crown, crown_ibp, forward, interval, optimised
from epsball.certificates.propagation import Propagation, propagate
from epsball.certificates.registry import AUTO, METHODS, methods_of
from epsball.certificates.result import Certificates
from epsball.certificates.specification import by_class, chapter_criterion, margins, separations

__all__ = [
    "AUTO",
    "FLOAT32",
    "METHODS",
    "PLAIN",
    "REAL",
    "Arithmetic",
    "Box",
    "Certificates",
    "Certification",
    "Domain",
    "LipschitzConstants",
    "LowerBounds",
    "Propagation",
    "Verifier",
    "arithmetic_of",
    "by_class",
    "certify",
    "chapter_criterion",
    "check_deployment",
    "crown",
    "crown_ibp",
    "forward",
    "interval",
    "lipschitz",
    "lipschitz_constants",
    "margins",
    "methods_of",
    "optimised",
    "propagate",
    "separations",
]
