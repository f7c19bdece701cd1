"""What a link of the chain is: columns of evidence for each shard, and what the whole run adds up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from epsball.attacks import Ledger
from epsball.auditing.subject import Shard, Subject
from epsball.statistics import Bound

if TYPE_CHECKING:
    import pyarrow

    from epsball.auditing.evidence import Witnesses

Columns = dict[str, Any]
"""Evidence columns by name, each with one entry per example: tensors or lists."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What a link found on one shard.

    Parameters
    ----------
    columns
        New evidence columns, one entry per example, those of the link's `schema_of` the subject.
    invalid
        Why the model failed on an example, by its row in the shard.
    ledger
        Passes spent, indexed by row in the shard.
    x_adv
        Witnesses found, by their row in the shard.
    nearest
        Points of lowest margin of examples that stand, likewise.
    notes
        What it found out about the model, in sentences.
    """

    columns: Columns = field(default_factory=dict)
    invalid: Mapping[int, str] = field(default_factory=dict)
    ledger: Ledger | None = None
    x_adv: Mapping[int, Tensor] = field(default_factory=dict)
    nearest: Mapping[int, Tensor] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class RunFindings:
    """What a link says about all audited examples together.

    Parameters
    ----------
    bounds
        Value and interval of the places of the chain that it measures, by name.
    columns
        New evidence columns, one entry per example, those of the link's `run_schema`; or none.
    chain
        What the chain says beside the bounds: values of fields of `Chain`, by name.
    ledger
        Passes spent, which belong to no single example.
    witnesses
        Witnesses of examples that no link had broken; they are put into the shards.
    notes
        What it found out about the model, in sentences.
    document
        Written as ``NAME.json`` when all else of it is written; None where there is nothing to write.
    """

    bounds: Mapping[str, Bound] = field(default_factory=dict)
    columns: Columns = field(default_factory=dict)
    chain: Mapping[str, Any] = field(default_factory=dict)
    ledger: Ledger | None = None
    witnesses: "Witnesses | None" = None
    notes: Sequence[str] = ()
    document: Mapping[str, Any] | None = None


class Link:
    """One link: a frozen dataclass of options that overrides one or both parts.

    `on_shard` is called for each shard; its findings are kept in the run folder, where a resumed run reads them.
    `on_run` is called once, after all shards, and again by every call that resumes.
    """

    name: ClassVar[str]
    """The prefix of its columns."""

    schema: ClassVar[Mapping[str, str]] = {}
    """The Arrow type of each column that `on_shard` gives in every run: bool, int64, double or string."""

    run_schema: ClassVar[Mapping[str, str]] = {}
    """The Arrow type of each column that `on_run` gives."""

    def schema_of(self, subject: Subject) -> Mapping[str, str]:
        """Return the Arrow type of each column that `on_shard` gives in a run about this subject."""
        return self.schema

    def on_shard(self, shard: Shard, evidence: Columns) -> Findings:
        """Return what it finds on a shard, given the columns of the links before it."""
        return Findings()

    def on_run(self, subject: Subject, evidence: "pyarrow.Table") -> RunFindings:
        """Return what it says about all examples, given the evidence of all shards."""
        return RunFindings()
