"""``verify``: whether an input satisfies a VNN-LIB query, with a witness or a proof."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from epsball.certificates import FLOAT32, Arithmetic, Domain, arithmetic_of, check_deployment, propagate
from epsball.certificates.deployment import assumptions_of
from epsball.checks import check_count, check_positive, check_seed
from epsball.errors import InputError
from epsball.graph import Graph
from epsball.names import Semantics
from epsball.verification.blind import blind_search
from epsball.verification.course import Course
from epsball.verification.deadline import Deadline, TimeUp
from epsball.verification.network import Network, read_network
from epsball.verification.proving import Task
from epsball.verification.proving.record import Record
from epsball.verification.regions import Region, regions_of
from epsball.verification.result import QueryCertificate, Verification
from epsball.verification.search import Search
from epsball.verification.threads import fitting_threads
from epsball.verification.vnnlib import Query, cases_of, read_query
from epsball.verification.witness import Found, Judge, Witness

_COMPARED = 0.1
"""Share of the time for the comparison of a network that is read for the first time with onnxruntime."""

_LEAST = 1e-3
"""Seconds that are left at least."""


def verify(
    network: str | Path,
    query: str | Path | Query,
    *,
    timeout: int | float | None = None,
    spent: int | float = 0,
    semantics: Semantics | None = None,
    seed: int = 0,
    max_memory: int | None = None,
    certificates: str | Path | None = None,
) -> Verification:
    """Decide whether an input exists that, with the network's output, satisfies a query.

    ``sat`` comes with a witness: floats of the network's type that lie in the query's exact box, and for which the
    outputs that onnxruntime computes on the CPU satisfy the formula exactly, without tolerance. ``unsat`` is a proof by
    bounds. Where the two kinds of number differ (a witness in float32 where the real-valued network has none), the
    answer is sat, and `Verification.notes` say so.

    Parameters
    ----------
    network
        An ONNX file, plain or gzipped; where NAME is not there but NAME.gz is, that is read.
    query
        A VNN-LIB file of version 1.0, or of 2.0 with the extra ``vnnlib``, plain or gzipped likewise; or one that was
        read.
    timeout
        Seconds, wall-clock; by default no limit.
    spent
        Seconds of them that are gone before the call, as by imports.
    semantics
        What ``unsat`` is claimed of: ``"real"``, the real-valued function of the weights on all real inputs of the box;
        ``"float32"``, what the network computes in float32 on the floats of the box. By default what the query
        declares, which in version 1.0 is real.
    seed
        Of the search.
    max_memory
        Bytes that the rows of backward bounds may take at a time.
    certificates
        Folder for the proof of an unsat, as files that `epsball replay` checks.

    Raises
    ------
    InputError
        If a file or an option breaks a stated rule, or query and network do not fit.
    UnsupportedOperation
        If the query is not linear. An operator without a rule leaves a search without gradients, and no proof: the
        answer is sat or unknown then, and its reason names the operator.
    MissingExtra
        If onnx, onnxruntime or, for version 2.0, vnnlib is not installed.
    """
    if timeout is not None:
        check_positive("timeout", timeout)
    check_seed(seed)
    check_count("max_memory", max_memory, unit="bytes", optional=True)
    if semantics is not None:
        arithmetic_of(semantics)
    folder = None if certificates is None else Path(certificates)
    if folder is not None and folder.is_dir() and any(folder.glob("proof-*")):
        raise InputError(f"{folder} holds another proof; name a new folder, or remove it.")
    run = _Run(
        network=str(network),
        asked=query if isinstance(query, Query) else None,
        path=query.path if isinstance(query, Query) else str(query),
        semantics=semantics,
        seed=seed,
        max_memory=max_memory,
        folder=folder,
    )
    deadline = Deadline.after(None if timeout is None else max(timeout - spent, _LEAST))
    try:
        # The search needs gradients; an alarm may ring while they are switched off for a moment.
        with torch.enable_grad(), deadline.kept():
            net = run.read(deadline)
            if net.graph is None:
                run.search_blindly(net, deadline)
            else:
                with fitting_threads(net.graph):
                    run.course.run(deadline)
    except Found as found:
        return run.sat(found.witness)
    except TimeUp:
        reasons = (f"the limit of {timeout:g} s was reached", *dict.fromkeys(run.course.reasons))
        return run.undecided("timed-out", "; ".join(reasons))
    return run.result()


@dataclass(kw_only=True, eq=False)
class _Run:
    """A verification under way."""

    network: str
    path: str
    asked: Query | None
    semantics: Semantics | None
    seed: int
    max_memory: int | None
    folder: Path | None
    started: float = field(default_factory=time.monotonic)
    notes: list[str] = field(default_factory=list)
    course: Course = field(default_factory=Course)
    record: Record = field(default_factory=Record)
    net: Network | None = None
    judge: Judge | None = None
    regions: list[Region] = field(default_factory=list)
    arithmetic: Arithmetic | None = None

    def read(self, deadline: Deadline) -> Network:
        """Read query and network, set up what is to be done, and return the network."""
        query = self.asked = self.asked or read_query(self.path)
        cases, notes = cases_of(query)
        self.semantics = self.semantics or _declared(query)
        self.arithmetic = arithmetic_of(self.semantics)
        compared = None if math.isinf(deadline.left) else _COMPARED * deadline.left
        net = self.net = read_network(self.network, query, seconds=compared)
        self.notes += notes
        self.judge = Judge(query=query, network=net.runtime)
        self.regions = regions_of(cases, net.runtime)
        for region in self.regions:
            self._note_empty(region, net)
        if net.graph is not None:
            self._set_up(net.graph)
        return net

    def _set_up(self, graph: Graph) -> None:
        """Make the task and the search of each region."""
        if self.judge is None or self.arithmetic is None:
            return
        self.notes += graph.notes
        if self.arithmetic.deployed is not None:
            check_deployment(graph)
        for region in self.regions:
            task = Task.of(region, graph, self.arithmetic, self.max_memory)
            task.number, task.record = len(self.course.tasks), None if self.folder is None else self.record
            if self.arithmetic is FLOAT32 and not bool(region.searchable.all()):
                task.open[~region.searchable] = False
                self.course.by = self.record.missing = "no float32 input"
            self.course.tasks.append(task)
            self.course.searches.append(Search(region=region, graph=graph, judge=self.judge, seed=self.seed))

    def _note_empty(self, region: Region, net: Network) -> None:
        """Note boxes without a float of the network's type, in which there can be no witness."""
        empty = int((~region.searchable).sum())
        if empty:
            self.notes.append(
                f"{empty} of {len(region)} boxes hold no {net.runtime.element} number in some input, so that they hold "
                "no witness"
            )

    def search_blindly(self, net: Network, deadline: Deadline) -> None:
        """Search without gradients, of a network that has no graph."""
        self.course.reasons.append(f"no bounds and no gradients: {net.ungraphed}")
        for region in self.regions:
            if self.judge is not None:
                blind_search(region, self.judge, self.seed, deadline)

    def result(self) -> Verification:
        """Return what was decided."""
        if self.net is not None and self.net.graph is None:
            return self.undecided("unknown", self.course.reasons[0])
        if all(task.refuted for task in self.course.tasks):
            return self._verification("unsat", by=self.course.by, **self._proof())
        open_ = sum(int(task.open.sum()) for task in self.course.tasks)
        reason = f"{open_} conjunctions are neither refuted by bounds nor satisfied at a point found"
        if self.course.stuck:
            reason += (
                f"; {self.course.stuck} boxes were given up: the query is within rounding there, or real numbers "
                "satisfy it and no float does"
            )
        return self.undecided("unknown", "; ".join([reason, *dict.fromkeys(self.course.reasons)]))

    def _proof(self) -> dict[str, Any]:
        """Return the certificate that was asked for, written, or why there is none."""
        if self.folder is None:
            return {}
        if self.record.missing is not None:
            return {"uncertified": f"a part of the proof cannot be replayed: {self.record.missing}"}
        return {"certificate": QueryCertificate(files=self.record.write(self.folder))}

    def undecided(self, answer: str, reason: str) -> Verification:
        """Return an answer without decision."""
        return self._verification(answer, reason=reason)

    def sat(self, witness: Witness) -> Verification:
        """Return the answer that a witness gives, and note where the real-valued network differs."""
        self.notes += self._difference(witness)
        return self._verification("sat", witness=witness, by="input splits" if self.course.boxes else "search")

    def _difference(self, witness: Witness) -> list[str]:
        """Return a note if the real-valued network provably does not satisfy the query at a witness."""
        graph, x = None if self.net is None else self.net.graph, witness.x.unsqueeze(0)
        if graph is None or self.course.boundless:
            return []
        real = arithmetic_of("real")
        domain = Domain.at(x)
        for search in self.course.searches:
            task = Task.of(search.region, graph, real)
            bounded = propagate(task.bounded, domain, real).boxes[task.bounded.output].low[0]
            inside = (x >= search.region.low).flatten(1).all(dim=1) & (x <= search.region.high).flatten(1).all(dim=1)
            refuted = all(bool((bounded[list(rows)] > 0).any()) for rows in search.region.conjunctions)
            if bool(inside.any()) and not refuted:
                return []
        low, high = propagate(graph, domain, real).boxes[graph.output]
        off = (torch.tensor(witness.outputs, dtype=torch.float64) - 0.5 * (low[0] + high[0])).abs().max().item()
        return [
            "both answers are right, each for its arithmetic: onnxruntime's outputs satisfy the query at this input, "
            f"those of the real-valued network do not; they differ by {off:.3g} at most"
        ]

    def _verification(
        self,
        answer: str,
        *,
        witness: Witness | None = None,
        by: str | None = None,
        reason: str | None = None,
        certificate: QueryCertificate | None = None,
        uncertified: str | None = None,
    ) -> Verification:
        arithmetic = self.arithmetic
        unsat = answer == "unsat" and arithmetic is not None
        return Verification(
            answer=answer,  # pyright: ignore[reportArgumentType]
            witness=witness,
            semantics=self.semantics or "real",
            assumptions=assumptions_of(arithmetic) if unsat and arithmetic is not None else (),
            by=by,
            reason=reason,
            certificate=certificate,
            uncertified=uncertified,
            boxes=self.course.boxes,
            seconds=time.monotonic() - self.started,
            notes=tuple(self.notes),
            network=self.network,
            query=self.path,
            asked=self.asked,
        )


def _declared(query: Query) -> Semantics:
    """Return the semantics that a query asks for by its element type."""
    if query.element == "real":
        return "real"
    if query.element == "float32":
        return "float32"
    raise InputError(
        f"{query.path} declares {query.element}; proofs are about real or float32. Declare real, or give "
        "semantics='real' to have the real-valued function of the weights proved."
    )
