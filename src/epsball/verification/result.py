"""`Verification`: what `verify` returns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from epsball import results
from epsball.verification.witness import Witness

if TYPE_CHECKING:
    import pyarrow

Answer = Literal["sat", "unsat", "unknown", "timed-out"]
"""Whether an input satisfies the query: yes, with a witness; no, proved; not decided; not decided in time."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Verification(results.Result):
    """The answer to a query about a network.

    Parameters
    ----------
    answer
        ``"sat"``, ``"unsat"``, ``"unknown"`` or ``"timed-out"``.
    witness
        Where the answer is sat, an input that satisfies the query and the outputs that onnxruntime computed for it.
    semantics
        What a proof of unsat is about: ``"real"``, the real-valued function of the stored weights on all real inputs,
        or ``"float32"``, the network as it computes in float32 on float32 inputs.
    assumptions
        What that claim assumes.
    by
        What decided: ``"search"``, a method of bounds, or ``"input splits"``; None where nothing did.
    reason
        Why the answer is unknown or timed-out; None otherwise.
    boxes
        How many boxes of inputs were bounded by input splits.
    seconds
        Wall-clock seconds.
    notes
        What was read otherwise than written, and what is to be known about the answer.
    network, query
        The files.

    Examples
    --------
    >>> files = {"network": "net.onnx", "query": "query.vnnlib"}
    >>> print(Verification(answer="unsat", semantics="real", by="crown", seconds=0.1, **files))
    unsat by crown, under real semantics, in 0.1 s
    """

    answer: Answer
    witness: Witness | None = None
    semantics: str
    assumptions: tuple[str, ...] = ()
    by: str | None = None
    reason: str | None = None
    boxes: int = 0
    seconds: float
    notes: tuple[str, ...] = ()
    network: str
    query: str

    def __str__(self) -> str:
        how = "" if self.by is None else f" by {self.by}"
        claim = f", under {self.semantics} semantics" if self.answer == "unsat" else ""
        lines = [f"{self.answer}{how}{claim}, in {self.seconds:.1f} s"]
        if self.reason is not None:
            lines.append(f"reason: {self.reason}")
        if self.boxes:
            lines.append(f"boxes bounded by input splits: {self.boxes}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON's types."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "witness"}
        if self.witness is not None:
            document |= {"input": self.witness.x.flatten().double(), "output": list(self.witness.outputs)}
        return results.jsonable(document)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row."""
        texts = ("network", "query", "answer", "by", "semantics", "reason")
        columns = {name: [getattr(self, name)] for name in texts}
        return results.arrow_table({**columns, "boxes": [self.boxes], "seconds": [self.seconds]})
