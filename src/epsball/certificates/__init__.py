"""Certificates: rigorous lower bounds on what a captured network computes over N(x).

How the pieces fit
------------------
A method is a function ``method(problem) -> LowerBounds``. A `Problem` holds

- `graph`, an `epsball.graph.Graph`; its parameters are taken in float64;
- `domain`, `Domain.of(ball, x)`: a superset of N(x) for each of n examples, rounded outward;
- `specification`, (n, r, classes): which linear functions of the logits are bounded.
  `margin_rows(predicted, classes)` gives z_p - z_j for every j other than p, in the order of j, and
  `by_class` spreads the result to (n, classes) with infinity at p;
- `arithmetic`, the claim: `REAL` (the real-valued network) or `FLOAT32` (the deployed one);
  `PLAIN` leaves every error term out and proves nothing;
- `max_memory`, in bytes, for the rows that are carried at a time.

`LowerBounds.rows` is the result, (n, r); `LowerBounds.boxes` are the bounds on every node that the relaxations stand
on, and `LowerBounds.slopes` the lower slopes of every rectifier that was free to choose one, which together are what a
replay needs.

The methods are `interval` (IBP), `lipschitz`, `crown_ibp`, `forward`, `crown`, `optimised` (alpha-CROWN),
`wong_kolter`, `lp`, `lp_tight`, `sdp` and `complete` (branch and bound), by name in `METHODS`, where what the cascade
and the checker must know of each is entered too.

`logit_bounds` puts the bounds of one example's logits by every method side by side.

`milp` is what a mixed-integer solver says: an oracle for tiny networks, never a certificate.

`LiveNetwork` is a module as a graph with the parameters it has now: bounds of it have gradients in them, for training.

`check_deployment` says whether a float32 claim can be made of a module on this machine at all.
"""

from epsball.certificates.arithmetic import FLOAT32, PLAIN, REAL, Arithmetic, Semantics, arithmetic_of
from epsball.certificates.box import Box
from epsball.certificates.branching.complete import complete
from epsball.certificates.certify import Certification, certify
from epsball.certificates.deployment import check_deployment
from epsball.certificates.domain import Domain
from epsball.certificates.lipschitz import LipschitzConstants, lipschitz, lipschitz_constants
from epsball.certificates.live import CleanPass, LiveNetwork
from epsball.certificates.logit_bounds import LogitBounds, logit_bounds
from epsball.certificates.methods import crown, crown_ibp, forward, interval, optimised, wong_kolter
from epsball.certificates.polytope.mixed_integer import Minimum, milp
from epsball.certificates.polytope.outer import lp, lp_tight
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import Propagation, propagate
from epsball.certificates.registry import ALIASES, AUTO, METHODS, Method, MethodName, ReplayPlan, methods_of
from epsball.certificates.result import Certificates
from epsball.certificates.semidefinite.method import sdp
from epsball.certificates.specification import by_class, margin_rows, separated, separations
from epsball.certificates.verifier import Verifier

# Old names, until 0.3.
margins = margin_rows
chapter_criterion = separated

__all__ = [
    "ALIASES",
    "AUTO",
    "FLOAT32",
    "METHODS",
    "PLAIN",
    "REAL",
    "Arithmetic",
    "Box",
    "Certificates",
    "Certification",
    "CleanPass",
    "Domain",
    "LipschitzConstants",
    "LiveNetwork",
    "LogitBounds",
    "LowerBounds",
    "Method",
    "MethodName",
    "Minimum",
    "Problem",
    "Propagation",
    "ReplayPlan",
    "Semantics",
    "Verifier",
    "arithmetic_of",
    "by_class",
    "certify",
    "chapter_criterion",
    "check_deployment",
    "complete",
    "crown",
    "crown_ibp",
    "forward",
    "interval",
    "lipschitz",
    "lipschitz_constants",
    "logit_bounds",
    "lp",
    "lp_tight",
    "margin_rows",
    "margins",
    "methods_of",
    "milp",
    "optimised",
    "propagate",
    "sdp",
    "separated",
    "separations",
    "wong_kolter",
]
