"""`certify`: certificates of a classifier's predictions."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.utils import parametrize

from epsball import progress
from epsball.ball import Ball
from epsball.certificates.arithmetic import Arithmetic, arithmetic_of
from epsball.certificates.cascade import BATCH, Bounded, run_cascade
from epsball.certificates.deployment import ASSUMPTIONS, check_deployment
from epsball.certificates.domain import Domain
from epsball.certificates.registry import AUTO, methods_of
from epsball.certificates.replay.export import emit, not_replayable
from epsball.certificates.replay.files import write_model
from epsball.certificates.result import Certificates
from epsball.checks import check_count
from epsball.classifier import Classifier
from epsball.classifier.margins import margins
from epsball.errors import InputError, ModelError, SoundnessError
from epsball.graph import Graph, capture


def certify(
    classifier: Classifier,
    x: Float[Tensor, "n *shape"],
    y: Int64[Tensor, " n"],
    ball: Ball,
    *,
    method: str = AUTO,
    semantics: str = "float32",
    budget: int | None = None,
    max_memory: int | None = None,
    folder: str | Path | None = None,
) -> Certificates:
    """Prove for each example that no point of its ball is given another class than the example itself.

    Parameters
    ----------
    classifier
        The model; its network is captured as a graph and the graph is bounded.
    x, y
        Pixels in the box, and labels.
    ball
        The perturbation set: linf, l2 or l1, with its box.
    method
        ``"interval"``, ``"lipschitz"``, ``"crown-ibp"``, ``"forward"``, ``"crown"``, ``"optimised"``; or ``"auto"``,
        those in the order of their cost that fit, each example stopping at its first certificate.
    semantics
        ``"float32"``: the claim is about the deployed network, in IEEE float32 with sums in any order.
        ``"real"``: about the real-valued function of its weights.
    budget
        Passes through the model an example may cost; None is no limit.
    max_memory
        Bytes that the rows of backward bounds may take at a time.
    folder
        Where certificates are written, a file an example that `epsball replay` checks.

    Returns
    -------
    Certificates

    Raises
    ------
    InputError
        If data, ball or options break a rule.
    ModelError, UnsupportedOperation
        If the network cannot be captured or bounded, or is not of float32 for a claim about float32.
    AssumptionError
        If reduced precision is on, or kernels beyond the error analysis can be reached.
    SoundnessError
        If a bound exceeds the margin that the model itself has at x: a bug.
    """
    arithmetic = arithmetic_of(semantics)
    check_count("budget", budget, unit="passes per example", optional=True)
    check_count("max_memory", max_memory, unit="bytes", optional=True)
    classes = classifier.check(x, y)
    if classes < 2:
        raise InputError("the model has one logit; a margin needs two.")
    verifier = Verifier.of(classifier, tuple(x.shape[1:]), arithmetic)
    methods = methods_of(method, verifier.graph, ball.norm)
    run = Certification(verifier=verifier, ball=ball, methods=methods, budget=budget, max_memory=max_memory)
    return run.certificates(classifier, x, y, folder=None if folder is None else Path(folder))


@dataclass(frozen=True, kw_only=True, eq=False)
class Verifier:
    """A captured network and what is claimed about it.

    Parameters
    ----------
    graph
        The network.
    arithmetic
        The claim.
    """

    graph: Graph
    arithmetic: Arithmetic

    @classmethod
    def of(cls, classifier: Classifier, shape: tuple[int, ...], arithmetic: Arithmetic) -> "Verifier":
        """Capture a classifier's network; check that the claim can be made of it.

        Raises
        ------
        ModelError
            If the model is stochastic, or not float32 under a float32 claim.
        """
        if classifier.stochastic:
            raise ModelError("the model draws random numbers; certificates are about one function. Fix its draws.")
        # Autocast would be captured with the network; that it is on is said by the check.
        with torch.autocast(classifier.device.type, enabled=False):
            graph = capture(with_fixed_weights(classifier.network), shape)
        if arithmetic.deployed is not None:
            check_deployment(graph, classifier.network)
        return cls(graph=graph, arithmetic=arithmetic)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the claim assumes."""
        return ASSUMPTIONS if self.arithmetic.deployed is not None else ()


def with_fixed_weights(network: nn.Module) -> nn.Module:
    """Return the network with its parametrised weights as they are now, which is what it computes with."""
    if not any(parametrize.is_parametrized(part) for part in network.modules()):
        return network
    plain = copy.deepcopy(network).eval()
    for part in list(plain.modules()):
        if parametrize.is_parametrized(part):
            _fix_weights(part)
    return plain


def _fix_weights(part: nn.Module) -> None:
    """Replace a module's parametrised tensors by their values; its class is shared with the original and stays."""
    names = list(part.parametrizations)  # pyright: ignore[reportArgumentType]
    values = {name: getattr(part, name).detach() for name in names}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part._modules["parametrizations"]
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value))


@dataclass(frozen=True, kw_only=True, eq=False)
class Certification:
    """How examples are certified: `certify` once its arguments are checked.

    Parameters
    ----------
    verifier, ball, methods, budget, max_memory
        The network and the claim, the perturbation set, and the options of `certify`.
    """

    verifier: Verifier
    ball: Ball
    methods: tuple[str, ...]
    budget: int | None = None
    max_memory: int | None = None

    def certificates(
        self,
        classifier: Classifier,
        x: Tensor,
        y: Tensor,
        *,
        folder: Path | None = None,
        numbers: Sequence[int] | None = None,
    ) -> Certificates:
        """Return the certificates of all examples, batch by batch; `numbers` name them and their files."""
        n = len(x)
        predicted, logits = _predictions(classifier, x)
        invalid = dict.fromkeys(torch.nonzero(predicted < 0)[:, 0].tolist(), "non-finite logits")
        found = Bounded.nothing(n, self.methods)
        files: dict[int, Path] = {}
        model = self._write_model(folder)
        for rows in _batches(torch.nonzero(predicted >= 0)[:, 0]):
            batch = self._bounded(x[rows], predicted[rows])
            found.include(rows, batch)
            if folder is not None and model:
                files |= self._emitted(folder, model, rows, x, predicted, batch, numbers or range(n))
            progress.report("examples bounded", int(rows[-1]) + 1, n)
        return self._result(found, predicted, logits, y.cpu(), invalid, files, numbers or range(n))

    def _bounded(self, x: Tensor, predicted: Tensor) -> Bounded:
        domain = Domain.of(self.ball, x)
        options = {"budget": self.budget, "max_memory": self.max_memory}
        return run_cascade(self.verifier.graph, domain, predicted, self.methods, self.verifier.arithmetic, **options)

    def _write_model(self, folder: Path | None) -> str:
        if folder is None or not_replayable(self.verifier.graph) is not None:
            return ""
        folder.mkdir(parents=True, exist_ok=True)
        return write_model(self.verifier.graph, folder)

    def _emitted(
        self,
        folder: Path,
        model: str,
        rows: Tensor,
        x: Tensor,
        predicted: Tensor,
        batch: Bounded,
        numbers: Sequence[int],
    ) -> dict[int, Path]:
        """Write the certificates of a batch; those of Lipschitz constants are not replayed."""
        files: dict[int, Path] = {}
        for at, proof in batch.proofs.items():
            if proof.method == "lipschitz":
                continue
            row = int(rows[at])
            files[row] = folder / f"certificate-{numbers[row]:06d}.json.gz"
            emit(
                files[row],
                self.verifier.graph,
                model,
                proof,
                x=x[row],
                ball=self.ball,
                predicted=int(predicted[row]),
                arithmetic=self.verifier.arithmetic,
                assumptions=self.verifier.assumptions,
            )
        return files

    def _result(
        self,
        found: Bounded,
        predicted: Tensor,
        logits: Tensor,
        y: Tensor,
        invalid: dict[int, str],
        files: dict[int, Path],
        numbers: Sequence[int],
    ) -> Certificates:
        margin = torch.stack(list(found.margins.values())).nan_to_num(nan=-torch.inf).amax(dim=0)
        never = torch.stack([bounds.isnan() for bounds in found.margins.values()]).all(dim=0)
        margin = margin.masked_fill(never, torch.nan)
        stable = margin > 0
        _alarm(margin, logits, predicted, self.verifier.arithmetic, numbers)
        by = {row: proof.method for row, proof in found.proofs.items()}
        return Certificates(
            predicted=predicted,
            margin=margin,
            stable=stable,
            certified=stable & (predicted == y),
            criterion=found.criterion,
            method=tuple(by.get(row) for row in range(len(y))),
            margins=found.margins,
            passes=found.passes,
            seconds=found.seconds,
            semantics=self.verifier.arithmetic.name,
            assumptions=self.verifier.assumptions,
            invalid=invalid,
            files=files,
            not_replayable=not_replayable(self.verifier.graph),
        )


def _predictions(classifier: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the predicted class of each example, -1 where there is none, and the logits in float64."""
    with torch.no_grad():
        logits = classifier.logits(x).double().cpu()
    bad = (logits.isnan() | (logits == torch.inf)).any(dim=1)
    return logits.argmax(dim=1).masked_fill(bad, -1), logits


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


def _batches(rows: Tensor) -> Iterator[Tensor]:
    if len(rows):
        yield from rows.split(BATCH)
