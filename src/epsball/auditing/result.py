"""What an audit returns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball.auditing.chain import Chain
from epsball.auditing.evidence import ShardEvidence, Witnesses
from epsball.auditing.figure import SHOWN, witness_figure
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.results import Result

if TYPE_CHECKING:
    import pyarrow
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Audit(Result):
    """The chain of one classifier on one data set, with its evidence.

    Parameters
    ----------
    chain
        The numbers, with intervals, the risk decomposition and the counts of verdicts.
    evidence
        One row per example.
    ledger
        Passes by example, attack and restart.
    shards
        The pieces the audit was made in, with their witnesses.
    classifier, class_names
        The classifier audited, and the names of the data's classes, if it has any.
    folder
        Where the run was written, or None.
    ball
        The perturbation set.
    interrupted
        Whether it was interrupted: what is known until then, as the exception's `partial`. Examples without a search
        count as standing, those without a bound as uncertified.
    manifest
        The hash of the folder's manifest, which stands for every file of the run.
    part
        Which part of the run it is about, ``K/N``, where the others are audited elsewhere; None: all of it.

    Examples
    --------
    >>> import torch
    >>> import epsball as eb
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 2))
    >>> _ = network.load_state_dict({"1.weight": 3 * torch.eye(2), "1.bias": torch.zeros(2)})
    >>> x, y = torch.tensor([[0.9, 0.1], [0.5, 0.6], [0.4, 0.3]]), torch.tensor([0, 1, 1])
    >>> bare = {"certificates": "none", "limit": False}
    >>> audit = eb.audit(eb.Classifier(network), (x, y), eb.Ball("linf", 0.1), attack="fgsm", **bare)
    >>> audit.witnesses.index
    tensor([1])
    """

    chain: Chain
    evidence: "pyarrow.Table"
    ledger: "pyarrow.Table"
    shards: Sequence[ShardEvidence]
    classifier: Classifier
    class_names: Sequence[str] | None
    folder: Path | None
    ball: Ball | None = None
    interrupted: bool = False
    manifest: str | None = None
    part: str | None = None

    @property
    def witnesses(self) -> Witnesses:
        """Position, example and witness of every broken example, in order."""
        return self._first(len(self.evidence))

    def _first(self, count: int) -> Witnesses:
        """Return the first witnesses, reading no more shards than needed."""
        parts, found = [], 0
        for shard in self.shards:
            parts.append(shard.witnesses())
            found += len(parts[-1].index)
            if found >= count:
                break
        index, x, x_adv = (torch.cat([getattr(p, name) for p in parts])[:count] for name in ("index", "x", "x_adv"))
        return Witnesses(index=index, x=x, x_adv=x_adv)

    def __str__(self) -> str:
        lines = [str(self.chain)]
        if self.classifier.overruled:
            lines.append(f"\nchecks overruled: {', '.join(self.classifier.overruled)}")
        if self.interrupted:
            lines.append(
                f"\ninterrupted: this is about the first {self.chain.total} examples; those not searched count as "
                "standing, those not bounded as uncertified"
            )
        if self.part is not None:
            lines.append(
                f"\npart {self.part}: this is about its {self.chain.total} examples; epsball merge joins the parts"
            )
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """Return the chain, and the folder of the evidence, as JSON's types."""
        document: dict[str, object] = {
            **self.chain.to_json(),
            "folder": None if self.folder is None else str(self.folder),
        }
        if self.classifier.overruled:
            document["overruled"] = list(self.classifier.overruled)
        document |= {} if self.part is None else {"part": self.part}
        return document | ({"interrupted": True} if self.interrupted else {})

    def to_arrow(self) -> "pyarrow.Table":
        """Return the evidence."""
        return self.evidence

    def plot(self) -> "Figure":
        """Draw the first broken examples: clean, witness, signed difference."""
        first = self._first(SHOWN)
        shown = self.evidence.select(["index", "label"]).filter(np.isin(self.evidence["index"].to_numpy(), first.index))
        labels = dict(zip(shown["index"].to_pylist(), shown["label"].to_pylist(), strict=True))
        y = torch.tensor([labels[i] for i in first.index.tolist()], dtype=torch.int64)
        return witness_figure(self.classifier, first.x, y, first.x_adv, first.index, self.class_names, self.ball)
