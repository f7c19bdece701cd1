"""`Record`: what refuted each conjunction, as certificates that the independent checker replays."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from epsball.certificates import METHODS, LowerBounds, Problem
from epsball.certificates.replay.export import certificate_of_rows, not_replayable
from epsball.certificates.replay.files import ModelFile, model_file_name, write_model
from epsball.files import write_atomically
from epsball.graph import Graph


@dataclass(kw_only=True, eq=False)
class Record:
    """The certificates of a verification under way, in memory until it has ended.

    Attributes
    ----------
    missing
        Why not everything that was refuted has a certificate, or None.
    """

    missing: str | None = None
    _files: dict[str, bytes] = field(default_factory=dict)
    _models: dict[str, Graph] = field(default_factory=dict)
    _known: dict[int, ModelFile] = field(default_factory=dict)

    def note(
        self,
        name: str,
        method: str,
        problem: Problem,
        found: LowerBounds,
        *,
        rows: Sequence[int],
        conjunctions: Sequence[int],
    ) -> None:
        """Make the certificate of some rows on one box, each above 0, by the conjunctions that they refute."""
        if METHODS[method].replay is None:
            self.missing = f"bounds by {method} cannot be replayed"
            return
        kept = all(searched.recorded for searched in found.searched.values())
        reason = _not_replayable(problem) if kept else "a tree of cuts is too large to be kept"
        if reason is not None:
            self.missing = reason
            return
        at = list(rows)
        own = replace(problem, specification=problem.specification[:, at])
        place = {row: number for number, row in enumerate(at)}
        bounds = replace(
            found,
            rows=found.rows[:, at],
            slopes={node: slope[:, at] for node, slope in found.slopes.items()},
            trees={0: [replace(tree, row=place[tree.row]) for tree in found.trees.get(0, ()) if tree.row in place]},
        )
        certificate = certificate_of_rows(method, own, bounds, self._model(problem.graph))
        stem = f"{name}-{min(conjunctions):04d}-{method}"
        self._files[f"{stem}.json.gz"] = certificate.to_bytes()

    def _model(self, graph: Graph) -> ModelFile:
        if id(graph) not in self._known:
            fingerprint = graph.fingerprint()
            self._models[fingerprint] = graph
            self._known[id(graph)] = ModelFile(model_file_name(fingerprint), fingerprint)
        return self._known[id(graph)]

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write the certificates and the model files beside them; return the former."""
        folder.mkdir(parents=True, exist_ok=True)
        for graph in self._models.values():
            write_model(graph, folder)
        for name, content in self._files.items():
            write_atomically(folder / name, content)
        return tuple(folder / name for name in sorted(self._files))


def _not_replayable(problem: Problem) -> str | None:
    """Return why the checker cannot replay certificates of a problem, or None."""
    deployed = problem.arithmetic.deployed is not None
    if deployed and any(tensor.dtype != torch.float32 for tensor in problem.graph.parameters.values()):
        return "the checker replays float32 claims of float32 numbers, and the query has coefficients that are none"
    return not_replayable(problem.graph)
