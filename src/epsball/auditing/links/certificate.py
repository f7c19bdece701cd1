"""The link of certified accuracy: a certificate for each example that gets one."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from epsball.attacks import PGD, Attack, Ledger
from epsball.auditing.chain import CERTIFIED
from epsball.auditing.evidence import flags
from epsball.auditing.fingerprint import STORED_AS
from epsball.auditing.link import Columns, Findings, Link, RunFindings
from epsball.auditing.searching import in_shard, rows_of, sampled, search_rows
from epsball.auditing.subject import Shard, Subject
from epsball.certificates import AUTO, Certificates, Certification, Semantics, methods_of
from epsball.certificates.certify import predictions_of
from epsball.certificates.own_bound import OwnBound
from epsball.data import as_pixels
from epsball.errors import AssumptionError, ModelError, UnsupportedOperation
from epsball.generator_state import preserved
from epsball.statistics import Bound, clopper_pearson

if TYPE_CHECKING:
    import pyarrow

EXPENSIVE = ("crown", "optimised")
"""Methods that cost hundreds of passes per example."""

EVERY = ("interval", "lipschitz", "crown-ibp", "forward", "crown", "optimised")
"""Methods whose bounds have a column in every run, so that a run goes on with the columns it began with."""


def _column(method: str) -> str:
    return f"certificate.{method}.margin"


@dataclass(frozen=True, kw_only=True)
class CertificateLink(Link):
    """Whether an example is certified and stable, by which method, and the bound of every method run.

    In a run folder each certificate that can be replayed is a file under ``certificates``, named
    by the example's position.

    The cascade's `EXPENSIVE` methods are run on examples that a short attack does not break: no sound bound could
    certify the others. Some of those, drawn by key, get all methods nevertheless, so that a wrong certificate is
    found; `certificate.whole` says which examples do.

    Parameters
    ----------
    method, semantics, budget, max_memory
        As for `epsball.certify`.
    screening
        The short attack. A method asked for by name is run on every example.
    share, fewest
        The share of the examples broken by it that get all methods, and the fewest per shard.
    """

    name: ClassVar[str] = "certificate"
    schema: ClassVar[Mapping[str, str]] = {
        "certificate.certified": "bool",
        "certificate.stable": "bool",
        "certificate.whole": "bool",
        "certificate.criterion": "bool",
        "certificate.margin": "double",
        "certificate.method": "string",
        "certificate.semantics": "string",
        "certificate.replayable": "bool",
        "certificate.passes": "int64",
        **{_column(method): "double" for method in EVERY},
    }

    method: str | OwnBound = AUTO
    semantics: Semantics = "float32"
    budget: int | None = None
    max_memory: int | None = None
    screening: Attack = field(default_factory=lambda: PGD(steps=10), metadata={STORED_AS: "sieve"})
    share: float = 0.02
    fewest: int = 5

    def refusal(self, subject: Subject) -> str | None:
        """Return why there can be no certificates, or None: the first example is bounded by intervals.

        Raises
        ------
        ModelError, UnsupportedOperation, AssumptionError
            If there can be none, but a method was asked for by name.
        """
        x, y = subject.dataset[:1]
        x = as_pixels(x)
        try:
            subject.classifier.check(x, y)
            run = Certification(verifier=subject.verifier(self.semantics), ball=subject.ball, methods=("interval",))
            run.certificates(subject.classifier, x, y)
        except (ModelError, UnsupportedOperation, AssumptionError) as error:
            if self.method != AUTO:
                raise
            return str(error)
        return None

    def schema_of(self, subject: Subject) -> Mapping[str, str]:
        """Return the columns of every run, and one for each other registered method that this run can use."""
        return {**self.schema, **{_column(method): "double" for method in self._registered(subject)}}

    def on_shard(self, shard: Shard, evidence: Columns) -> Findings:
        """Certify the shard's examples."""
        subject = shard.subject
        methods = self._methods(subject)
        full, screened = self._full(shard, evidence)
        none = torch.zeros(len(shard.y), dtype=torch.bool)
        taken = evidence.get("taken.stable", none)
        before = subject.classifier.passes.forward
        cheap = tuple(method for method in methods if method not in EXPENSIVE)
        parts = [
            (rows, self._certificates(shard, rows, names, part))
            for rows, names, part in (
                (rows_of(full & ~taken), methods, "bounds"),
                (rows_of(~full & ~taken), cheap, "cheap-bounds"),
            )
            if len(rows)
        ]
        guards = Ledger.overhead("guards", subject.classifier.passes.forward - before)
        bounds = dict.fromkeys((*EVERY, *self._registered(subject)))
        columns = _columns(full & ~taken, parts, bounds, self.semantics)
        _take(columns, evidence, taken, shard)
        return Findings(columns=columns, ledger=Ledger.concatenate([guards, screened]))

    def _methods(self, subject: Subject) -> tuple[str | OwnBound, ...]:
        if isinstance(self.method, OwnBound):
            return (self.method,)
        return methods_of(self.method, subject.verifier(self.semantics).bounded, subject.ball.norm)

    def _registered(self, subject: Subject) -> list[str]:
        # Of the user's own bound there is the margin only.
        return [method for method in self._methods(subject) if isinstance(method, str)]

    def _full(self, shard: Shard, evidence: Columns) -> tuple[Tensor, Ledger]:
        """Return which examples get all methods, and what it cost to find out."""
        none = torch.zeros(len(shard.y), dtype=torch.bool)
        broken, stable = (evidence.get(f"taken.{name}", none) for name in ("broken", "stable"))
        full = ~broken if self.method == AUTO else ~none
        right = rows_of(evidence["natural.correct"] & ~broken & ~stable)
        if self.method != AUTO or not len(right):
            return full | sampled(shard, ~full, self.share, self.fewest), Ledger.empty()
        subject = shard.subject
        with preserved(subject.seed if subject.classifier.stochastic else None), subject.classifier.in_use():
            result = search_rows(shard, evidence, right, self.screening, "screening")
        full[right] = ~result.broken.cpu()
        return full | sampled(shard, ~full, self.share, self.fewest), in_shard(result.ledger, shard)

    def _certificates(self, shard: Shard, rows: Tensor, methods: tuple[str | OwnBound, ...], name: str) -> Certificates:
        subject = shard.subject
        run = Certification(
            verifier=subject.verifier(self.semantics),
            ball=subject.ball,
            methods=methods,
            budget=self.budget,
            max_memory=self.max_memory,
        )
        folder = None if shard.folder is None else shard.folder / "certificates"
        x, y, numbers = shard.x[rows], shard.y[rows], shard.positions[rows].tolist()
        predictions = shard.parts.kept(f"{name}: predictions", lambda: predictions_of(subject.classifier, x))
        if predictions is None:
            predictions = torch.full_like(y, -1), torch.zeros(len(y), subject.classes, dtype=torch.float64)
        options = {"folder": folder, "numbers": numbers, "predictions": predictions}
        return run.certificates(subject.classifier, x, y, keep=shard.parts.bounds(name, shard.rows[rows]), **options)

    def on_run(self, subject: Subject, evidence: "pyarrow.Table") -> RunFindings:
        """Return certified accuracy, a lower end: what is not certified counts against it."""
        certified = flags(evidence)["certificate.certified"]
        count, n = int(certified.sum()), len(certified)
        bound = Bound(value=count / n, interval=clopper_pearson(count, n), scope="distribution")
        return RunFindings(bounds={CERTIFIED: bound})


def _take(columns: Columns, evidence: Columns, taken: Tensor, shard: Shard) -> None:
    """Write certificates of balls around this one, which hold here, into the columns."""
    for row in rows_of(taken).tolist():
        columns["certificate.stable"][row] = True
        columns["certificate.certified"][row] = evidence["natural.prediction"][row] == shard.y[row]
        columns["certificate.margin"][row] = evidence["taken.bound"][row]
        columns["certificate.method"][row] = evidence["taken.method"][row]
        columns["certificate.replayable"][row] = evidence["taken.replayable"][row]


def _columns(
    full: Tensor, parts: Sequence[tuple[Tensor, Certificates]], methods: Collection[str], semantics: str
) -> Columns:
    """Return the columns of a shard from the certificates of its parts, with the bounds of these methods."""
    n = len(full)
    flags = ("certified", "stable", "criterion")
    columns: Columns = {
        **{f"certificate.{name}": torch.zeros(n, dtype=torch.bool) for name in (*flags, "replayable")},
        "certificate.whole": full,
        "certificate.passes": torch.zeros(n, dtype=torch.int64),
        "certificate.method": [None] * n,
        "certificate.semantics": [semantics] * n,
        "certificate.margin": torch.full((n,), torch.nan, dtype=torch.float64),
        **{_column(method): torch.full((n,), torch.nan, dtype=torch.float64) for method in methods},
    }
    for rows, found in parts:
        for name in (*flags, "margin", "passes"):
            columns[f"certificate.{name}"][rows] = getattr(found, name)
        for method in found.margins.keys() & set(methods):
            columns[_column(method)][rows] = found.margins[method]
        for at, row in enumerate(rows.tolist()):
            columns["certificate.method"][row] = found.method[at]
            columns["certificate.replayable"][row] = found.replayable(at)
    return columns
