"""`Verification`: what `verify` returns."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from epsball import results
from epsball.verification.vnnlib import Query
from epsball.verification.witness import Witness

if TYPE_CHECKING:
    import pyarrow

Answer = Literal["sat", "unsat", "unknown", "timed-out"]
"""Whether an input satisfies the query: yes, with a witness; no, proved; not decided; not decided in time."""


@dataclass(frozen=True, kw_only=True)
class QueryCertificate:
    """The files that prove an unsat: each that some conjunctions hold nowhere in one box of the query.

    Parameters
    ----------
    files
        What `epsball replay` checks, one by one; the models that they name lie beside them.

    Examples
    --------
    >>> print(QueryCertificate(files=(Path("proof/proof-000-00000-0000-crown.json.gz"),)))
    1 file in proof
    """

    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{len(self.files)} file{'s' * (len(self.files) != 1)} in {self.files[0].parent}"


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
        What decided: ``"search"``, a method of bounds (``"complete"`` is branch and bound over neurons), or ``"input
        splits"``; None where nothing did.
    reason
        Why the answer is unknown or timed-out; None otherwise.
    boxes
        How many boxes of inputs were bounded by input splits.
    seconds
        Wall-clock seconds.
    certificate
        Where the answer is unsat and certificates were asked for, the files that prove it; None where the proof, or a
        part of it, is of another kind.
    uncertified
        Why there is none, where they were asked for.
    notes
        What was read otherwise than written, and what is to be known about the answer.
    network, query
        The files.
    asked
        The query as it was read, in whose form a witness is written; None where reading did not come to an end.

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
    certificate: QueryCertificate | None = None
    uncertified: str | None = None
    notes: tuple[str, ...] = ()
    network: str
    query: str
    asked: Query | None = None

    def __str__(self) -> str:
        how = "" if self.by is None else f" by {self.by}"
        claim = f", under {self.semantics} semantics" if self.answer == "unsat" else ""
        lines = [f"{self.answer}{how}{claim}, in {self.seconds:.1f} s"]
        if self.reason is not None:
            lines.append(f"reason: {self.reason}")
        if self.boxes:
            lines.append(f"boxes bounded by input splits: {self.boxes}")
        if self.certificate is not None:
            lines.append(f"certificate: {self.certificate}")
        if self.uncertified is not None:
            lines.append(f"no certificate: {self.uncertified}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, object]:
        """Return everything as JSON's types."""
        left_out = {"witness", "asked"} | {
            name for name in ("certificate", "uncertified") if getattr(self, name) is None
        }
        document = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in left_out}
        if self.certificate is not None:
            document["certificate"] = [str(path) for path in self.certificate.files]
        if self.witness is not None:
            document |= {"input": self.witness.x.flatten().double(), "output": list(self.witness.outputs)}
        return results.jsonable(document)

    def to_arrow(self) -> "pyarrow.Table":
        """Return one row."""
        texts = ("network", "query", "answer", "by", "semantics", "reason")
        columns = {name: [getattr(self, name)] for name in texts}
        return results.arrow_table({**columns, "boxes": [self.boxes], "seconds": [self.seconds]})
