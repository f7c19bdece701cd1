"""`certify`: certificates of a classifier's predictions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from epsball import progress
from epsball.ball import Ball
from epsball.certificates.arithmetic import Arithmetic, Semantics, arithmetic_of
from epsball.certificates.cascade import CascadeResult, run_cascade
from epsball.certificates.domain import Domain
from epsball.certificates.own_bound import NOT_REPLAYABLE, OwnBound, own_bound
from epsball.certificates.problem import LowerBounds, Problem
from epsball.certificates.propagation import propagate
from epsball.certificates.registry import AUTO, METHODS, Method, MethodName, methods_of
from epsball.certificates.replay.export import export_certificate
from epsball.certificates.replay.files import LARGEST_FILE, ModelFile, write_model
from epsball.certificates.result import Certificates
from epsball.certificates.sharing import shared_batches
from epsball.certificates.verifier import Verifier
from epsball.checks import check_count, check_positive
from epsball.classifier import Classifier
from epsball.classifier.guards import usable
from epsball.classifier.margins import margins
from epsball.errors import InputError, SoundnessError, UnsupportedOperation
from epsball.interruption import carrying
from epsball.models.own_code import own_files
from epsball.workers import Workers, as_workers
from epsball.workers.threads import threads

BATCH = 32
"""Examples bounded together."""


def certify(
    classifier: Classifier,
    x: Float[Tensor, "n *shape"] | UInt8[Tensor, "n *shape"],
    y: Int64[Tensor, " n"],
    ball: Ball,
    *,
    method: MethodName | str | Method | Callable[..., LowerBounds] = AUTO,
    semantics: Semantics = "float32",
    budget: int | None = None,
    cpu_seconds: float | None = None,
    max_memory: int | None = None,
    folder: str | Path | None = None,
    workers: int | Workers | None = None,
) -> Certificates:
    """Prove, for each example, that the classifier gives every point of its ball the class it gives the example.

    Parameters
    ----------
    classifier
        The model; its network is captured as a graph and the graph is bounded.
    x, y
        Pixels in the box, or uint8 ones where that is [0, 1], and labels.
    ball
        The perturbation set: linf, l2 or l1, with its box.
    method
        ``"interval"`` (or ``"ibp"``), ``"lipschitz"``, ``"crown-ibp"``, ``"forward"``, ``"crown"``, ``"optimised"``
        (or ``"alpha-crown"``), ``"wong-kolter"``, ``"lp"``, ``"lp-tight"`` or ``"complete"``, branch and bound.
        ``"auto"`` runs those that fit in the order of their cost; each example stops at its first certificate. Where
        `budget` or `cpu_seconds` limits what an example may cost, ``"complete"`` is the last of them, and the others
        are left out where they are not worth their passes. One of
        your own is a function of a `Problem`, a `Method` made of one, or
        ``FILE.py:NAME[,option=value]...``.
    semantics
        ``"float32"``: the claim is about the deployed network, in IEEE float32 with sums in any order.
        ``"real"``: about the real-valued function of its weights.
    budget
        Passes through the model that an example may cost; None means no limit.
    cpu_seconds
        CPU seconds that an example may take, of which the search of ``"complete"`` gets what the methods before it
        left; None leaves it to the budget. What a search
        finds within a time differs from run to run; within a budget of passes it does not.
    max_memory
        Bytes that the rows of backward bounds may take at a time; None means no limit.
    folder
        Where certificates are written: one file per example, which `epsball replay` checks.
    workers
        Processes that share the batches of examples; None: this process bounds them all.

    Returns
    -------
    Certificates

    Raises
    ------
    InputError
        If data, ball or options break a rule.
    ModelError, UnsupportedOperation
        If the network cannot be captured or bounded, or a float32 claim is about a network that is not float32.
    AssumptionError
        If reduced precision is on, or kernels beyond the error analysis can be reached.
    SoundnessError
        If a bound exceeds the margin that the model itself has at x: a bug.
    KeyboardInterrupt
        If it is interrupted; its `partial` is the `Certificates` of the batches finished before, None before the first.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.ReLU())
    >>> x, y = torch.tensor([[0.8, 0.3], [0.4, 0.5]]), torch.tensor([0, 1])
    >>> found = eb.certify(classifier, x, y, eb.Ball("linf", "1/10"), method="ibp")
    >>> found.margin
    tensor([ 0.3000, -0.1000], dtype=torch.float64)
    >>> found.certified
    tensor([ True, False])
    """
    arithmetic_of(semantics)
    # Whole floats, as 5e3, count as the numbers they are.
    budget, max_memory = (int(v) if isinstance(v, float) and v.is_integer() else v for v in (budget, max_memory))
    check_count("budget", budget, unit="passes per example", optional=True)
    check_count("max_memory", max_memory, unit="bytes", optional=True)
    if cpu_seconds is not None:
        check_positive("cpu_seconds", cpu_seconds)
    options = {"method": method, "semantics": semantics, "budget": budget, "cpu_seconds": cpu_seconds}
    prepared = partial(_prepared, **options, max_memory=max_memory)
    where, sharing = None if folder is None else Path(folder), as_workers(workers)
    if sharing is None:
        return prepared(classifier, x, y, ball).run(_compute, where)
    with threads(sharing.threads):
        certification = prepared(classifier, x, y, ball)
        subject = classifier, (x.cpu(), y.cpu()), ball
        with shared_batches(prepared, subject, certification.batches, where, sharing) as keep:
            return certification.run(keep, where)


def _prepared(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    method: MethodName | str | Method | Callable[..., LowerBounds],
    semantics: Semantics,
    budget: int | None,
    cpu_seconds: float | None,
    max_memory: int | None,
) -> "Prepared":
    """Return the certification that these arguments ask for, all of them checked."""
    with carrying(lambda: None):
        x = classifier.pixels(x)
        classes = classifier.check(x, y)
        if classes < 2:
            raise InputError("the model has one logit; a margin needs two.")
        verifier = Verifier.of(classifier, tuple(x.shape[1:]), arithmetic_of(semantics))
    own = own_bound(method)
    budgeted = budget is not None or cpu_seconds is not None
    methods = methods_of(str(method), verifier.bounded, ball.norm, budgeted=budgeted) if own is None else (own,)
    limits = {"budget": budget, "cpu_seconds": cpu_seconds, "max_memory": max_memory}
    certification = Certification(verifier=verifier, ball=ball, methods=methods, **limits)
    return Prepared(certification=certification, classifier=classifier, x=x, y=y)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A certification of some examples, to be run as a whole or for some batches.

    Parameters
    ----------
    certification
        Its arguments, checked.
    classifier, x, y
        The model and the examples.
    """

    certification: "Certification"
    classifier: Classifier
    x: Tensor
    y: Tensor

    @cached_property
    def _predictions(self) -> "Predictions":
        return predictions_of(self.classifier, self.x)

    @property
    def batches(self) -> list[Tensor]:
        """The rows of each batch."""
        with carrying(lambda: None):
            return list(self.certification.batches(self._predictions[0]))

    def run(self, keep: "Keep", folder: Path | None) -> Certificates:
        """Return the certificates of the batches that `keep` does not leave out."""
        with carrying(lambda: None):
            predictions = self._predictions
        run = self.certification.certificates
        found = run(self.classifier, self.x, self.y, folder=folder, keep=keep, predictions=predictions)
        return replace(found, overruled=self.classifier.overruled)


Keep = Callable[[Tensor, Callable[[], CascadeResult]], CascadeResult | None]
"""``keep(rows, batch)`` returns what ``batch()`` finds on some rows, or what was kept of it; None: not to be run."""

Predictions = tuple[Tensor, Tensor]
"""The predicted class of each example, -1 where there is none, and the logits in float64."""


def _compute(rows: Tensor, batch: Callable[[], CascadeResult]) -> CascadeResult:
    return batch()


@dataclass(frozen=True, kw_only=True, eq=False)
class Certification:
    """A certification whose arguments are checked: what `certify` runs.

    Parameters
    ----------
    verifier, ball, methods, budget, cpu_seconds, max_memory
        The network and the claim, the perturbation set, and the options of `certify`; a method is a registered name or
        the user's own.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> classifier = eb.Classifier(torch.nn.ReLU())
    >>> verifier = eb.certificates.Verifier.of(classifier, (2,), eb.certificates.REAL)
    >>> run = Certification(verifier=verifier, ball=eb.Ball("linf", "1/10"), methods=("interval",))
    >>> run.certificates(classifier, torch.tensor([[0.8, 0.3]]), torch.tensor([0])).stable
    tensor([True])
    """

    verifier: Verifier
    ball: Ball
    methods: tuple[str | OwnBound, ...]
    budget: int | None = None
    cpu_seconds: float | None = None
    max_memory: int | None = None

    @property
    def _entered(self) -> dict[str, Method]:
        """The methods by name, in their order."""
        return dict((m.name, m.method) if isinstance(m, OwnBound) else (m, METHODS[m]) for m in self.methods)

    def batches(self, predicted: Tensor) -> Iterator[Tensor]:
        """Yield the rows of each batch; only examples with a prediction are bounded."""
        # A search takes long: each example is kept as soon as it is done.
        size = 1 if all(method.searches for method in self._entered.values()) else BATCH
        return _batches(torch.nonzero(predicted >= 0)[:, 0], size)

    @property
    def _own(self) -> tuple[OwnBound, ...]:
        return tuple(method for method in self.methods if isinstance(method, OwnBound))

    @property
    def _not_replayable(self) -> str | None:
        """Why no certificate can be replayed, or None."""
        return NOT_REPLAYABLE if self._own else self.verifier.not_replayable

    def certificates(
        self,
        classifier: Classifier,
        x: Tensor,
        y: Tensor,
        *,
        folder: Path | None = None,
        numbers: Sequence[int] | None = None,
        predictions: Predictions | None = None,
        keep: Keep = _compute,
    ) -> Certificates:
        """Return the certificates of all examples, bounded batch by batch; `numbers` name them and their files."""
        n, numbers = len(x), numbers or range(len(x))
        with carrying(lambda: None):
            predicted, logits = predictions or predictions_of(classifier, x)
            self._check_finite(logits, predicted, numbers)
            found = CascadeResult.nothing(n, self._entered)
            model = self._write_model(folder)
        files: dict[int, Path] = {}

        def result(*, interrupted: bool) -> Certificates:
            _alarm(found.best(), logits, predicted, self.verifier.arithmetic, numbers)
            return self._result(found, predicted, y.cpu(), files, interrupted=interrupted)

        with carrying(lambda: result(interrupted=True)):
            for rows in self.batches(predicted):
                names = {} if folder is None or model is None else _names(folder, rows, numbers)
                compute = partial(self._batch, x[rows], predicted[rows], names, model)
                batch = keep(rows, partial(_reported, compute, int(rows[0]), int(rows[-1]) + 1, n))
                if batch is not None:
                    found.include(rows, batch)
                    files |= {
                        int(rows[at]): names[at] for at in _replayable(batch) if names and at not in batch.too_large
                    }
        return result(interrupted=False)

    def _batch(self, x: Tensor, predicted: Tensor, names: Mapping[int, Path], model: ModelFile | None) -> CascadeResult:
        """Return the bounds of a batch, its certificates written."""
        verifier, domain = self.verifier, Domain.of(self.ball, x)
        options = {"arithmetic": verifier.arithmetic, "max_memory": self.max_memory}
        places = verifier.places(predicted)
        problem = Problem.of(verifier.bounded, domain, places, **options)
        found = run_cascade(problem, places, self._entered, budget=self.budget, cpu_seconds=self.cpu_seconds)
        if verifier.finite is not None and verifier.finite.beside is not None:
            last = propagate(verifier.finite.beside, domain, verifier.arithmetic).boxes[verifier.finite.beside.output]
            found.forget(~last.magnitude.isfinite().all(dim=1))
        if model is not None:
            for at in _replayable(found):
                proof = found.proofs[at]
                recorded = all(one.recorded for one in proof.bounds.searched.values())
                size = export_certificate(names[at], proof, self.ball, model) if recorded else LARGEST_FILE + 1
                if size > LARGEST_FILE:
                    found.too_large[at] = size
        found.proofs.clear()
        return found

    def _check_finite(self, logits: Tensor, predicted: Tensor, numbers: Sequence[int]) -> None:
        """Refuse a network that masks a class at some inputs only."""
        finite = self.verifier.finite
        kept = torch.arange(logits.shape[1]) if finite is None else torch.tensor(finite.classes)
        masked = torch.nonzero((logits[:, kept] == -torch.inf) & (predicted >= 0).unsqueeze(1))
        if len(masked):
            row, place = masked[0].tolist()
            raise UnsupportedOperation(
                f"the logit of class {int(kept[place])} is -inf at example {numbers[row]}, but not by a constant: a "
                "class that is masked at some inputs only has no bounds. Mask it at every input, or use attacks only."
            )

    def _write_model(self, folder: Path | None) -> ModelFile | None:
        """Write the model file; return None where no certificate is written."""
        if folder is None or self._not_replayable is not None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        return write_model(self.verifier.graph, folder)

    def _result(
        self, found: CascadeResult, predicted: Tensor, y: Tensor, files: dict[int, Path], *, interrupted: bool
    ) -> Certificates:
        margin = found.best()
        stable = margin > 0
        return Certificates(
            predicted=predicted,
            margin=margin,
            stable=stable,
            certified=stable & (predicted == y),
            criterion=found.separated,
            method=tuple(found.by.get(row) for row in range(len(y))),
            margins=found.margins,
            passes=found.passes,
            seconds=found.seconds,
            semantics=self.verifier.arithmetic.name,
            assumptions=self.verifier.assumptions,
            invalid=dict.fromkeys(torch.nonzero(predicted < 0)[:, 0].tolist(), "non-finite logits"),
            files=files,
            not_replayable=self._not_replayable,
            endings=found.endings,
            met=found.met,
            too_large=found.too_large,
            own_files={method.name: own_files(method.bound) or {} for method in self._own},
            interrupted=interrupted,
        )


def _names(folder: Path, rows: Tensor, numbers: Sequence[int]) -> dict[int, Path]:
    """Return the certificate files of a batch, by position in it."""
    return {at: folder / f"certificate-{numbers[row]:06d}.json.gz" for at, row in enumerate(rows.tolist())}


def _reported(compute: Callable[[], CascadeResult], start: int, stop: int, total: int) -> CascadeResult:
    """Return the bounds of a batch, reporting it: batches kept from before are not reported and count for no rate."""
    progress.report("examples bounded", start, total)
    found = compute()
    progress.report("examples bounded", stop, total)
    return found


def _replayable(found: CascadeResult) -> list[int]:
    """Return the positions of the examples with a certificate that can be replayed."""
    return [at for at, method in found.by.items() if method in METHODS and METHODS[method].replay is not None]


def predictions_of(classifier: Classifier, x: Tensor) -> Predictions:
    """Return the predictions of the deployed model."""
    with torch.no_grad():
        logits = classifier.logits(x).double().cpu()
    return logits.argmax(dim=1).masked_fill(~usable(logits), -1), logits


def _alarm(margin: Tensor, logits: Tensor, predicted: Tensor, arithmetic: Arithmetic, numbers: Sequence[int]) -> None:
    """Raise if a bound on the deployed network exceeds the margin it has at x itself."""
    if arithmetic.deployed is None:
        return
    at_x = margins(logits, predicted.clamp(min=0))
    wrong = torch.nonzero(margin > at_x)[:, 0]
    if len(wrong):
        row = int(wrong[0])
        raise SoundnessError(
            f"example {numbers[row]} has the margin {float(at_x[row]):.9g} at x, below its certified "
            f"bound {float(margin[row]):.9g}: a bug in epsball, or kernels that break the stated assumptions. Please "
            "report it with the model and the example."
        )


def _batches(rows: Tensor, size: int) -> Iterator[Tensor]:
    if len(rows):
        yield from rows.split(size)
