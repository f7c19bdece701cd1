"""What a diagnosis returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsball import figures, results
from epsball.masking.check import Finding
from epsball.masking.planted import Power
from epsball.masking.verdict import Verdict, reasons_of
from epsball.statistics import clopper_pearson

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Diagnosis(results.Result):
    """Whether a robustness number can be trusted, why, and which number may be reported.

    Parameters
    ----------
    verdict
        ``"sound"``: nothing speaks against the number. ``"suspect"``: something does, or too little could be seen.
        ``"masked"``: gradients hide adversarial examples from plain attacks.
    random
        Whether the model draws random numbers: a fact beside the verdict.
    checks
        Every check with its finding.
    accuracy
        Accuracy by attack: each on what those before it left, except the plain attack's, which is estimated.
        ``"reported"`` is the lowest, and may be reported.
    power
        How many planted witnesses the examined attack found; None where none could be planted.
    examples
        Number of examples.
    broken, x_adv
        Whether a witness is known (n,), and the witnesses found of correct examples, by position.
    by
        The attack that found each witness.
    passes, evaluation_passes
        Spent in all, and by the evaluation alone.
    notes
        What the attacks tried said about the model's gradients: operations that were given surrogates, and those
        that could not be.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    >>> _ = network.load_state_dict({"1.weight": 3 * torch.eye(2), "1.bias": torch.zeros(2)})
    >>> x = torch.rand(60, 2, generator=torch.Generator().manual_seed(0))
    >>> found = eb.diagnose(eb.Classifier(network), x, x.argmax(1), eb.Ball("linf", 0.05))
    >>> found.verdict, found.passes_gate
    ('sound', True)
    """

    verdict: Verdict
    random: bool
    checks: Sequence[Finding]
    accuracy: Mapping[str, float]
    power: Power | None
    examples: int
    broken: Bool[Tensor, " n"]
    by: Sequence[str | None]
    x_adv: Mapping[int, Float[Tensor, "*shape"]]
    passes: int
    evaluation_passes: int
    notes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Diagnosis":
        """Return the diagnosis that `to_json` wrote; the points are not in it."""
        power = document["power"]
        return cls(
            verdict=document["verdict"],
            random=document["random"],
            checks=[Finding.from_json(finding) for finding in document["checks"]],
            accuracy=document["accuracy"],
            power=None if power is None else Power.from_json(power),
            examples=document["examples"],
            broken=torch.tensor(document["broken"], dtype=torch.bool),
            by=tuple(document["by"]),
            x_adv={},
            passes=document["passes"]["all"],
            evaluation_passes=document["passes"]["evaluation"],
            notes=tuple(document.get("notes", ())),
        )

    @property
    def reported(self) -> float:
        """The lowest accuracy under attack: the one that may be reported."""
        return self.accuracy["reported"]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names of the checks that call for a verdict other than sound, the gravest first."""
        return reasons_of(self.checks)

    @property
    def passes_gate(self) -> bool:
        """Whether the verdict is anything but masked."""
        return self.verdict != "masked"

    def check(self, name: str) -> Finding:
        """Return the finding of a check.

        Raises
        ------
        KeyError
            If there is no check of that name.
        """
        return {finding.name: finding for finding in self.checks}[name]

    def __str__(self) -> str:
        standing = round(self.reported * self.examples)
        interval = clopper_pearson(standing, self.examples)
        why = f" ({', '.join(self.reasons)})" if self.reasons else ""
        lines = [
            f"verdict: {self.verdict}{why}" + ("; the model is random" if self.random else ""),
            f"accuracy that may be reported: {self.reported:.4f} {interval} ({standing} of {self.examples})",
            f"power: {self.power or 'not measured'}",
            f"passes: {self.passes}, {self.passes / max(1, self.evaluation_passes):.2f} times the evaluation's",
            "",
            results.text_table(("attack", "accuracy"), [(n, v) for n, v in self.accuracy.items()]),
            "",
            results.text_table(
                ("check", "finding", "calls for", "measured"),
                [(c.name, c.finding, c.severity if c.severity != "none" else "-", c.measured) for c in self.checks],
            ),
        ]
        advice = [f"{c.name}: {c.advice}" for c in self.checks if c.severity != "none"]
        return "\n".join([*lines, *(["", "what to do:", *advice] if advice else []), *self.notes])

    def summary(self) -> str:
        """Return verdict, power and advice in a few lines, as the audit's chain prints them."""
        why = f" ({', '.join(self.reasons)})" if self.reasons else ""
        lines = [
            f"diagnosis: {self.verdict}{why}" + ("; the model is random" if self.random else ""),
            f"power of the attack: {self.power or 'not measured'}",
        ]
        return "\n".join([*lines, *(f"{c.name}: {c.advice}" for c in self.checks if c.severity != "none")])

    def brief(self) -> dict[str, object]:
        """Return the same as JSON's types."""
        return results.jsonable(
            {
                "verdict": self.verdict,
                "reasons": list(self.reasons),
                "random": self.random,
                "passes gate": self.passes_gate,
                "accuracy": dict(self.accuracy),
                "power": self._power(),
            }
        )

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row per check."""
        names = ("name", "question", "finding", "measured", "threshold", "source", "severity", "advice")
        return results.arrow_table({name: [getattr(c, name) for c in self.checks] for name in names})

    def to_json(self) -> dict[str, object]:
        """Return everything but the points as JSON's types."""
        return results.jsonable(
            {
                **self.brief(),
                "checks": list(self.checks),
                "examples": self.examples,
                "broken": self.broken,
                "by": list(self.by),
                "passes": {"all": self.passes, "evaluation": self.evaluation_passes},
                **({"notes": self.notes} if self.notes else {}),
            }
        )

    def _power(self) -> dict[str, object] | None:
        if self.power is None:
            return None
        counts = {name: getattr(self.power, name) for name in ("attack", "planted", "found", "examples", "rows")}
        return {**counts, "share": self.power.share, "interval": self.power.interval}

    def plot(self) -> "Figure":
        """Draw accuracy by attack, with exact intervals, and the number that may be reported."""
        figure = results.new_figure(6.4, 1.2 + 0.34 * len(self.accuracy))
        axes = figure.subplots()
        names = list(self.accuracy)[::-1]
        values = [self.accuracy[name] for name in names]
        counts = [round(value * self.examples) for value in values]
        intervals = [clopper_pearson(count, self.examples) for count in counts]
        spread = [
            [max(0.0, v - i.low) for v, i in zip(values, intervals, strict=True)],
            [max(0.0, i.high - v) for v, i in zip(values, intervals, strict=True)],
        ]
        colours = [figures.VERMILION if name == "reported" else figures.SKY for name in names]
        axes.barh(names, values, color=colours, xerr=spread, error_kw={"capsize": 3, "linewidth": 0.8})
        axes.axvline(self.reported, color=figures.BLACK, linestyle=":", linewidth=0.8)
        axes.set(xlim=(0, 1), xlabel=f"accuracy on {self.examples} examples", title=f"verdict: {self.verdict}")
        return figure
