"""The chain: certified accuracy <= robust accuracy <= accuracy under attack, and 1 - optimal risk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from epsball import results
from epsball.auditing.evidence import broken_by_any, flags
from epsball.auditing.link import RunFindings
from epsball.limits import Limit, missed_witness
from epsball.masking.diagnosis import Diagnosis
from epsball.risk import UNDECIDED, RiskDecomposition, decompose
from epsball.statistics import Bound

if TYPE_CHECKING:
    import pyarrow

CERTIFIED, ATTACK = "certified accuracy", "accuracy under attack"
NATURAL, LIMIT = "natural accuracy", "1 - optimal adversarial risk"
PLACES = (CERTIFIED, ATTACK, NATURAL, LIMIT)


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Adversarial cross-entropy on the examples, in nats, both from below.

    Parameters
    ----------
    classifier
        The least that the attack showed for the classifier.
    optimal
        The least that any classifier can have.
    """

    classifier: float
    optimal: float

    def __str__(self) -> str:
        return f"at least {self.classifier:.4f} nats; the data force {self.optimal:.4f} on every classifier"


@dataclass(frozen=True, kw_only=True, repr=False)
class Chain(results.Result):
    """The numbers of the chain that were measured, about one classifier on one data set.

    Parameters
    ----------
    places
        Value and exact 95% interval by name of the place; places not measured are absent.
    decomposition
        Natural, boundary and robust risk, each from both sides.
    verdicts
        Number of examples by verdict.
    total
        Number of examples.
    limit
        What the data allow at all, where it was measured.
    cross_entropy
        The classifier's adversarial cross-entropy against the least possible, where it was measured.
    uncertified
        Why there are no certificates, where there are none.
    diagnosis
        Whether accuracy under attack can be trusted, where that was looked into.
    examined
        Number of examples that the diagnosis examined.
    further
        Number of examples that withstood the attack and that the diagnosis broke, by what it broke them with.
    undiagnosed
        Why there is no diagnosis, where there is none.
    notes
        What to know about the numbers: gradients that the attack could not use, operations given surrogates.

    Examples
    --------
    >>> import torch
    >>> import epsball as eb
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    >>> _ = network.load_state_dict({"1.weight": 3 * torch.eye(2), "1.bias": torch.zeros(2)})
    >>> x, y = torch.tensor([[0.9, 0.1], [0.5, 0.6], [0.4, 0.3]]), torch.tensor([0, 1, 1])
    >>> bare = {"certificates": "none", "limit": False}
    >>> chain = eb.audit(eb.Classifier(network), (x, y), eb.Ball("linf", 0.1), attack="fgsm", **bare).chain
    >>> print(f"{chain.places['accuracy under attack'].value:.3f}")
    0.333
    >>> chain.not_measured
    ['certified accuracy', '1 - optimal adversarial risk']
    """

    places: Mapping[str, Bound]
    decomposition: RiskDecomposition
    verdicts: Mapping[str, int]
    total: int
    limit: Limit | None = None
    cross_entropy: CrossEntropy | None = None
    uncertified: str | None = None
    diagnosis: Diagnosis | None = None
    examined: int = 0
    further: Mapping[str, int] = field(default_factory=dict)
    undiagnosed: str | None = None
    notes: Sequence[str] = ()

    @property
    def robust_accuracy(self) -> tuple[float, float]:
        """Both ends of what is known of robust accuracy on these examples."""
        return 1.0 - self.decomposition.robust.high, 1.0 - self.decomposition.robust.low

    @property
    def avoidable_error(self) -> tuple[float, float] | None:
        """Both ends of robust risk - optimal risk on these examples, or None without the limit."""
        if self.limit is None:
            return None
        high = self.limit.risk.interval.high if self.limit.risk.interval else self.limit.risk.value
        robust = self.decomposition.robust
        return max(0.0, robust.low - high), robust.high - self.limit.stored

    @property
    def missed_witness(self) -> str | None:
        """What to say where accuracy under attack exceeds what any classifier can keep; else None."""
        if self.limit is None or ATTACK not in self.places:
            return None
        # Examples on which the model failed stand without a verdict; they are not a sign of a missed witness.
        without_verdict = self.verdicts.get("invalid", 0) / self.total
        return missed_witness(self.limit, self.places[ATTACK].value - without_verdict)

    @property
    def not_measured(self) -> list[str]:
        """The places of the chain that this run has no number for."""
        return [name for name in PLACES if name not in self.places]

    def __str__(self) -> str:
        low, high = self.robust_accuracy
        between = f"between {low:.4f} and {high:.4f}" + (f": {UNDECIDED}" if (low, high) == (0.0, 1.0) else "")
        lines = [
            f"   {CERTIFIED:<29}{self._place(CERTIFIED)}",
            f"<= {'robust accuracy':<29}{between}",
            f"<= {ATTACK:<29}{self._place(ATTACK)}",
            f"<= {NATURAL:<29}{self._place(NATURAL)}",
            f"   robust accuracy <= {LIMIT}: {self._place(LIMIT)}",
            *self._limit_lines(),
            *self._diagnosis_lines(),
            "",
            str(self.decomposition),
            "",
            "verdicts: " + ", ".join(f"{count} {name}" for name, count in self.verdicts.items()),
            *self.notes,
        ]
        return "\n".join(lines)

    def _limit_lines(self) -> list[str]:
        avoidable = self.avoidable_error
        lines = [] if avoidable is None else [f"   avoidable error: between {avoidable[0]:.4f} and {avoidable[1]:.4f}"]
        lines += [] if self.cross_entropy is None else [f"   adversarial cross-entropy: {self.cross_entropy}"]
        return lines + ([self.missed_witness] if self.missed_witness else [])

    def _diagnosis_lines(self) -> list[str]:
        """Return the verdict, what it did to the number, and what to do."""
        if self.diagnosis is None:
            return [] if self.undiagnosed is None else ["", f"diagnosis: not made ({self.undiagnosed})"]
        lines = self.diagnosis.summary().splitlines()
        count = sum(self.further.values())
        if count and ATTACK in self.places:
            by = ", ".join(f"{name}: {number}" for name, number in self.further.items())
            alone = self.places[ATTACK].value + count / self.total
            what = "1 example" if count == 1 else f"{count} examples"
            lines.insert(1, f"it broke {what} that withstood the attack ({by}); without it {alone:.4f}")
        if self.examined < self.total:
            lines.insert(1, f"examined: {self.examined} of {self.total} examples")
        return ["", *lines]

    def _place(self, name: str) -> str:
        if name in self.places:
            place = self.places[name]
            trivial = place.interval is not None and place.interval.is_trivial
            return f"{place}: nothing is known of the source, {self._unknown(name)}" if trivial else str(place)
        return f"not measured ({self.uncertified})" if name == CERTIFIED and self.uncertified else "not measured"

    def _unknown(self, name: str) -> str:
        if name == LIMIT:
            return f"the risk of these {self.total} examples is too small to bound its own"
        return "the model gave no verdict on any example"

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per place that was measured: its value and its interval for the distribution."""
        intervals = [place.interval for place in self.places.values()]
        return results.arrow_table(
            {
                "place": list(self.places),
                "value": np.array([place.value for place in self.places.values()]),
                "low": np.array([np.nan if interval is None else interval.low for interval in intervals]),
                "high": np.array([np.nan if interval is None else interval.high for interval in intervals]),
            }
        )

    def to_json(self) -> dict[str, object]:
        """Return the chain as JSON's types."""
        low, high = self.robust_accuracy
        return results.jsonable(
            {
                "places": dict(self.places),
                "robust accuracy": {"low": low, "high": high},
                "not measured": self.not_measured,
                "without certificates because": self.uncertified,
                "risk": self.decomposition,
                "limit": self.limit,
                "avoidable error": self.avoidable_error,
                "cross-entropy": self.cross_entropy,
                "missed witness": self.missed_witness,
                "verdicts": dict(self.verdicts),
                "total": self.total,
                **self._diagnosis_json(),
                **({"notes": list(self.notes)} if self.notes else {}),
            }
        )

    def _diagnosis_json(self) -> dict[str, object]:
        if self.diagnosis is None:
            return {} if self.undiagnosed is None else {"without diagnosis because": self.undiagnosed}
        return {"diagnosis": {**self.diagnosis.brief(), "examined": self.examined, "further": dict(self.further)}}


def chain_of(
    evidence: "pyarrow.Table",
    findings: Sequence[RunFindings],
    uncertified: str | None = None,
    notes: Sequence[str] = (),
    undiagnosed: str | None = None,
) -> Chain:
    """Return the chain of an evidence table, with what the links say about all its examples."""
    bounds: dict[str, Bound] = {}
    further: dict[str, Any] = {"undiagnosed": undiagnosed}
    for found in findings:
        bounds.update(found.bounds)
        further.update(found.chain)
    columns = flags(evidence)
    return Chain(
        places=bounds,
        decomposition=decompose(
            columns["natural.correct"],
            broken_by_any(columns),
            columns.get("certificate.certified"),
            columns["natural.failed"],
        ),
        verdicts={entry["values"]: entry["counts"] for entry in evidence["verdict"].value_counts().to_pylist()},
        total=len(evidence),
        uncertified=uncertified,
        notes=notes,
        **further,
    )
