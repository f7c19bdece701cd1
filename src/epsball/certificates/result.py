"""What `certify` returns."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from epsball import results
from epsball.certificates.branching.tree import Ending
from epsball.certificates.cascade import CRITERION
from epsball.certificates.figure import certificates_figure
from epsball.certificates.registry import METHODS
from epsball.certificates.replay.files import LARGEST_FILE
from epsball.statistics import clopper_pearson

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Certificates(results.Result):
    """Certificates of a classifier's predictions on balls, one entry per example.

    Parameters
    ----------
    predicted
        The predicted class p of each example.
    margin
        The largest lower bound, over the methods run, of min over j != p of z_p - z_j on the whole
        ball; NaN where there is no prediction or no method was run, -inf where the methods run know nothing.
        It is about p, not about the label.
    stable
        Whether margin > 0: no point of the ball is given another class.
    certified
        Whether the example is stable and p is its label.
    criterion
        Whether the chapter's criterion holds: the lower bound of z_p lies above the upper bounds
        of all other logits. It is looser as a rule; the boxes of the logits join several bounds, so that it may also
        hold where no method's bounds of the margins are above 0: then it is the margin's bound.
    method
        The method whose bound first made the example stable, or None; ``"criterion"`` where the logits' bounds did,
        which have no certificate file.
    margins
        The bound of each method of the cascade, NaN where it was not run.
    passes
        What the bounds of each example cost, in passes through the model.
    seconds
        CPU seconds spent on each example, its share of its batch.
    semantics
        ``"float32"``, the deployed network, or ``"real"``, the function of its weights.
    assumptions
        What the claims assume.
    invalid
        Why an example has no bounds, by its position.
    files
        The certificate files written, by position.
    not_replayable
        Why no certificate of this network can be replayed, or None.
    overruled
        The checks of the classifier that its maker overruled.
    endings
        How the search of an example ended that found no proof, by its position: ``"witness"``, a point that is given
        another class; ``"rounding"`` or ``"overflow"``, where the deployed network's rounding is in the way (claim
        ``"real"``); ``"parts"``, ``"passes"`` or ``"time"``, where a limit was reached.
    met
        For each example at which a search met a point that is given another class, nearly or quite, that point,
        flattened. It is no witness before the deployed model has judged it.
    too_large
        For each example whose certificate was not written, for it is larger than `LARGEST_FILE`, its bytes.
    own_files
        For each bound of the user's own, by name, the files it was loaded from and their SHA-256.
    interrupted
        Whether it was interrupted: the batches finished before, as the exception's `partial`. The other examples count
        as not certified.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x, y = torch.tensor([[0.8, 0.3], [0.4, 0.5]]), torch.tensor([0, 1])
    >>> found = eb.certify(eb.Classifier(torch.nn.ReLU()), x, y, eb.Ball("linf", "1/10"), method="crown")
    >>> found.method, found.accuracy
    (('crown', None), 0.5)
    """

    predicted: Int64[Tensor, " n"]
    margin: Float64[Tensor, " n"]
    stable: Bool[Tensor, " n"]
    certified: Bool[Tensor, " n"]
    criterion: Bool[Tensor, " n"]
    method: tuple[str | None, ...]
    margins: dict[str, Float64[Tensor, " n"]]
    passes: Int64[Tensor, " n"]
    seconds: Float64[Tensor, " n"]
    semantics: str
    assumptions: tuple[str, ...] = ()
    invalid: dict[int, str] = field(default_factory=dict)
    files: dict[int, Path] = field(default_factory=dict)
    not_replayable: str | None = None
    overruled: tuple[str, ...] = ()
    endings: dict[int, Ending] = field(default_factory=dict)
    met: dict[int, Tensor] = field(default_factory=dict)
    too_large: dict[int, int] = field(default_factory=dict)
    own_files: dict[str, dict[str, str]] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def accuracy(self) -> float:
        """Certified accuracy: the share of examples proved to get the right class under every perturbation."""
        return float(self.certified.double().mean())

    def replayable(self, row: int) -> bool:
        """Return whether the certificate of a stable example is one that the checker replays."""
        method = self.method[row]
        known = method in METHODS and METHODS[method].replay is not None
        return known and self.not_replayable is None and row not in self.too_large

    def __str__(self) -> str:
        n = len(self.certified)
        lines = [
            _proportion("certified accuracy", self.certified),
            _proportion("certified stability", self.stable),
            f"semantics: {self.semantics}; stable by the chapter's criterion alone: {int(self.criterion.sum())} of {n}",
            f"{float(self.seconds.sum()):.1f} CPU seconds",
            "",
            results.text_table(["method", "examples", "first stable by it"], self._by_method()),
        ]
        lines += self._unknown()
        if self.endings:
            counts = Counter(self.endings.values())
            said = ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items()))
            lines.append(f"searches that ended without a proof: {said}")
        if self.too_large:
            lines.append(
                f"not written, for their files are larger than {LARGEST_FILE >> 20} MiB: {len(self.too_large)}"
            )
        if self.not_replayable is not None:
            lines.append(f"not replayable: {self.not_replayable}")
        if self.overruled:
            lines.append(f"checks overruled: {', '.join(self.overruled)}")
        for files in self.own_files.values():
            lines += [f"own code: {name}, SHA-256 {digest}" for name, digest in files.items()]
        if self.interrupted:
            unbounded = int(self.margin.isnan().sum()) - len(self.invalid)
            lines.append(f"interrupted: {unbounded} of {n} examples have no bound and count as not certified")
        return "\n".join(lines)

    def _unknown(self) -> list[str]:
        """Return why there is no bound for some examples."""
        unrun = int(self.margin.isnan().sum()) - len(self.invalid)
        infinite = int((self.margin == -torch.inf).sum())
        said = [
            (len(self.invalid), next(iter(self.invalid.values()), "")),
            (unrun, "no method was run on them, for their budget pays for none"),
            (infinite, "every bound is -infinity: intermediate values may overflow, or have no finite bound"),
        ]
        return [
            f"nothing is known of {count} of {len(self.margin)} examples: {why}" for count, why in said if count > 0
        ]

    def _by_method(self) -> list[list[object]]:
        first = [name for name in self.method if name is not None]
        table: list[list[object]] = [
            [name, int((~bounds.isnan()).sum()), first.count(name)] for name, bounds in self.margins.items()
        ]
        # Only where there is something to say.
        return table + [[CRITERION, "", first.count(CRITERION)]] * (CRITERION in first)

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON's types."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__}
        del document["met"]
        document["files"] = {row: str(path) for row, path in self.files.items()}
        for name in ("overruled", "endings", "too_large", "own_files"):  # Only where there is something to say.
            if not document[name]:
                del document[name]
        return results.jsonable({"accuracy": self.accuracy, **document})

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per example."""
        columns = {name: getattr(self, name) for name in ("predicted", "margin", "stable", "certified", "criterion")}
        bounds = {f"{name}.margin": values for name, values in self.margins.items()}
        return results.arrow_table({**columns, "method": list(self.method), **bounds, "passes": self.passes})

    def plot(self) -> "Figure":
        """Draw the share of examples whose certified margin is at least a threshold.

        Over all examples by the best bound, and for each method over those it was run on: in the cascade, those that no
        earlier method made stable.
        """
        return certificates_figure(self.margin, self.stable, self.margins, self.method)


def _proportion(name: str, flags: Tensor) -> str:
    count, n = int(flags.sum()), len(flags)
    return f"{name} {count / n:.4f} {clopper_pearson(count, n)} ({count} of {n})"
