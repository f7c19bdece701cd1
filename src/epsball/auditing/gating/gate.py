"""`gate`: whether a classifier meets least shares, decided on as few examples as the answer needs."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from epsball import data as datasets
from epsball.attacks import Attack
from epsball.attacks.attack import check_subject
from epsball.auditing.effort import EFFORTS, EffortName, effort_of
from epsball.auditing.gating.asked import Asked, Share
from epsball.auditing.gating.conditions import NAMES, NEWLY_BROKEN, Condition, Ends
from epsball.auditing.gating.drawing import Drawing, looking
from epsball.auditing.gating.lock import NAME, Lock, lock_of
from epsball.auditing.gating.result import Answer, Decision, Gate
from epsball.auditing.links import DiagnosisLink
from epsball.auditing.sharing import baseline_of
from epsball.auditing.subject import Subject
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.data import Dataset
from epsball.errors import InputError
from epsball.interface import argument, option
from epsball.randomness import Keys
from epsball.sequential import Side
from epsball.workers import Workers, as_workers
from epsball.workers.threads import threads_of

if TYPE_CHECKING:
    import pyarrow

_ANSWERS: dict[Side | None, Answer] = {"at least": "pass", "below": "fail", None: "cannot tell"}


def gate(
    classifier: Classifier,
    data: object,
    ball: Ball,
    *,
    min_robust: Share = None,
    min_certified: Share = None,
    min_under_attack: Share = None,
    baseline: str | Path | None = None,
    max_newly_broken: int | str | None = None,
    alpha: float | None = None,
    effort: EffortName | None = None,
    seed: int | None = None,
    lock: str | Path | None = None,
    write_lock: bool = False,
    strict_environment: bool = False,
    workers: int | Workers | None = None,
) -> Gate:
    """Decide whether a classifier is robust enough, as a check before it is merged or shipped.

    The examples are audited in a random order, which is a function of seed, model, data, ball and effort; every 16 of
    them each condition is tested by `epsball.sequential.CountTest`, which may be looked at as often as one likes, and
    the gate ends when all are decided or one has failed. After all examples the answer is exact.

    Parameters
    ----------
    classifier, data, ball
        As for `epsball.audit`.
    min_robust
        Least share of robust examples. It passes only where certificates prove it, and fails only where witnesses
        disprove it.
    min_certified
        Least share of examples that are right and certified, at this effort.
    min_under_attack
        Least share of examples that are right and not broken, at this effort. Where the diagnosis of gradient masking
        calls the model masked it never passes; where it is suspect it cannot be told.
    baseline
        The folder of a finished audit of another network on the same data within the same ball: its witnesses are
        tried first.
    max_newly_broken
        Most examples that stand in the baseline, right and not broken, and do not here. Under the attack at this
        effort, so that masking counts as for `min_under_attack`.
    alpha
        Probability, at most, of passing wrongly, and of failing wrongly; by default that of the lock, or 0.05.
    effort
        What is spent per example; by default that of the lock, or ``"quick"``.
    seed
        Of the order and of every draw; by default that of the lock, or 0.
    lock
        A file, as in ``"robustness.lock"``, of what a gate asks: what is not given is taken from it, and a gate that
        asks anything else, or of other data, is refused.
    write_lock
        Write the file, once all is checked, instead of comparing with it; what is not given is taken from one that is
        there.
    strict_environment
        Refuse another environment (torch, platform, device) too, which is noted otherwise.
    workers
        Processes that audit the examples; the answer is the same for any number of them. None: this process.

    Returns
    -------
    Gate

    Raises
    ------
    InputError, ModelError
        If data, ball, options or model break a rule, no condition is given, or the lock asks for something else.
    SoundnessError
        If an example is both broken and certified.
    WorkersError
        If examples that the answer needs were given up because every worker died at them.

    References
    ----------
    Waudby-Smith and Ramdas, "Confidence sequences for sampling without replacement", NeurIPS 2020.

    Examples
    --------
    >>> import torch, epsball as eb
    >>> x = torch.rand(64, 2)
    >>> y = (x[:, 1] > x[:, 0]).long()
    >>> classifier = eb.Classifier(torch.nn.Flatten())
    >>> eb.gate(classifier, (x, y), eb.Ball("linf", "0.001"), min_certified="0.5").answer
    'pass'
    """
    if lock is None and (write_lock or strict_environment):
        which = "write_lock" if write_lock else "strict_environment"
        raise InputError(f"{argument(which)} is given, but there is no lock; name one, as in {option('lock', NAME)}.")
    written = None if lock is None or (write_lock and not Path(lock).exists()) else Lock.read(lock)
    shares = dict(zip(NAMES, (min_robust, min_certified, min_under_attack, max_newly_broken), strict=True))
    asked = Asked.of(shares, alpha, effort, seed, written)
    _check_baseline(baseline, asked)
    check_subject(classifier, ball)
    chosen = effort_of(asked.effort)
    dataset = datasets.load(data)
    about = {
        "model": classifier.fingerprint(),
        "data": dataset.fingerprint(),
        "ball": str(ball),
        "effort": next(name for name, known in EFFORTS.items() if known == chosen),
        "seed": asked.seed,
    }
    known = None if baseline is None else baseline_of(Path(baseline), dataset, ball)
    compared = {} if known is None else {"baseline": known.manifest}
    sharing = as_workers(workers)
    with threads_of(sharing):
        made = lock_of(classifier, asked.conditions, about | compared | {"alpha": asked.alpha}, len(dataset))
    notes: tuple[str, ...] = ()
    if lock is not None and written is not None and not write_lock:
        notes = written.require(made, lock, strict_environment=strict_environment)
    drawing = Drawing(
        order=_order(len(dataset), about),
        seed=asked.seed,
        effort=chosen,
        proofs=any("lower" in (condition.passes_on, condition.fails_on) for condition in asked.conditions),
        baseline=None if baseline is None else Path(baseline),
    )
    drawn = drawing.of(classifier, dataset, ball, known)
    if lock is not None and write_lock:
        made.write(lock)
    run = _Run(
        subject=drawn.subject,
        conditions=asked.conditions,
        alpha=asked.alpha,
        method=chosen.attack,
        stood=frozenset() if known is None else frozenset(known.standing.tolist()),
    )
    with threads_of(sharing), looking(drawn, drawing, data if isinstance(data, str) else dataset, sharing) as looks:
        found = run.result(looks)
    notes += (f"no certificates: {drawn.uncertified}",) if drawing.proofs and drawn.uncertified is not None else ()
    return replace(found, about=about | compared, environment=made.environment, notes=notes)


def _check_baseline(baseline: object, asked: Asked) -> None:
    """Raise InputError unless a baseline and the condition about it are both given, or neither."""
    about_it = any(condition.name == NEWLY_BROKEN for condition in asked.conditions)
    if about_it and baseline is None:
        raise InputError(f"{argument(NEWLY_BROKEN)} is asked without a baseline; give {option('baseline', 'RUN')}.")
    if baseline is not None and not about_it:
        raise InputError(f"the baseline {baseline} is given, but not {argument(NEWLY_BROKEN)}; say how many may be.")


def _order(total: int, about: dict[str, object]) -> list[int]:
    """Return a random order of the examples: the same for the same model, data, ball, effort and seed."""
    text = "\n".join(f"{name}: {value}" for name, value in about.items())
    return Keys.of_positions(torch.arange(total), 0).derive("gate", text).words.argsort().tolist()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """A gate whose arguments are checked; `stood` has the positions that stand in the baseline."""

    subject: Subject
    conditions: Sequence[Condition]
    alpha: float
    method: Attack
    stood: frozenset[int]

    def result(self, looks: Iterator["pyarrow.Table"]) -> Gate:
        """Look at more and more evidence until every condition is decided, or one has failed."""
        import pyarrow

        tables: list[pyarrow.Table] = []
        answers: dict[str, Side | None] = {condition.name: None for condition in self.conditions}
        for table in looks:
            tables.append(table)
            answers = self._answers(pyarrow.concat_tables(tables), answers)
            if "below" in answers.values() or None not in answers.values():
                break
        return self._gate(pyarrow.concat_tables(tables), answers)

    def _answers(self, evidence: "pyarrow.Table", before: dict[str, Side | None]) -> dict[str, Side | None]:
        """Return the answers; one that was given stays."""
        return {
            condition.name: before[condition.name] or self._answer(condition, evidence) for condition in self.conditions
        }

    def _answer(self, condition: Condition, evidence: "pyarrow.Table") -> Side | None:
        options = {"alpha": self.alpha, "conditions": len(self.conditions)}
        return condition.answer(self._counted(evidence), len(evidence), len(self.subject.dataset), **options)

    def _counted(self, evidence: "pyarrow.Table") -> dict[Ends, int]:
        """Return how many of the examples drawn count by each end."""
        counts = _counts(evidence)
        fallen = np.isin(evidence["index"].to_numpy(), list(self.stood)) & ~_standing(evidence)
        return {
            "lower": counts["certified"],
            "upper": counts["certified"] + counts["undecided"],
            "kept": len(evidence) - int(fallen.sum()),
        }

    def _gate(self, evidence: "pyarrow.Table", answers: dict[str, Side | None]) -> Gate:
        counts, count = _counts(evidence), self._counted(evidence)
        decisions = []
        for condition in self.conditions:
            answer = answers[condition.name]
            decision = Decision(condition=condition, answer=_ANSWERS[answer], counted=count[condition.passes_on])
            if condition.name in ("min_under_attack", NEWLY_BROKEN) and answer == "at least":
                decision = self._examined(decision, evidence)
            if answer is None and "below" in answers.values():
                decision = replace(decision, why="the gate ended before, since another condition had failed")
            decisions.append(decision)
        given = {decision.answer for decision in decisions}
        final: Answer = "fail" if "fail" in given else "cannot tell" if "cannot tell" in given else "pass"
        return Gate(
            answer=final,
            decisions=tuple(decisions),
            drawn=len(evidence),
            total=len(self.subject.dataset),
            alpha=self.alpha,
            verdicts=dict(counts),
            about={},
        )

    def _examined(self, decision: Decision, evidence: "pyarrow.Table") -> Decision:
        """Return a decision about what stands under attack after the diagnosis of gradient masking."""
        subject = self.subject
        drawn: Dataset = subject.dataset.only(range(len(evidence)))
        about = Subject.of(subject.classifier, drawn, subject.ball, subject.seed)
        found = DiagnosisLink(method=self.method).on_run(about, evidence)
        if "undiagnosed" in found.chain:
            why = f"gradient masking could not be examined: {found.chain['undiagnosed']}"
            return replace(decision, answer="cannot tell", why=why)
        diagnosis, further = found.chain["diagnosis"], np.asarray(found.columns["diagnosis.broken"], dtype=bool)
        if decision.condition.name == NEWLY_BROKEN:
            further &= np.isin(evidence["index"].to_numpy(), list(self.stood))
        broken = int(further.sum())
        counted = decision.counted - broken
        if diagnosis.verdict == "suspect":
            why = "the diagnosis of gradient masking: suspect"
            return replace(decision, answer="cannot tell", counted=counted, why=why)
        if diagnosis.verdict == "masked":
            return replace(decision, answer="fail", counted=counted, why="gradients are masked: the number is no end")
        if broken:
            options = {"alpha": self.alpha, "conditions": len(self.conditions)}
            counts: dict[Ends, int] = {"lower": counted, "upper": counted, "kept": counted}
            answer = decision.condition.answer(counts, len(evidence), len(subject.dataset), **options)
            return replace(decision, answer=_ANSWERS[answer], counted=counted, why="after the diagnosis' own attacks")
        return decision


def _standing(evidence: "pyarrow.Table") -> np.ndarray:
    """Return which examples are right and not broken."""
    return np.isin(np.asarray(evidence["verdict"].to_pylist()), ("certified", "undecided"))


def _counts(evidence: "pyarrow.Table") -> Counter[str]:
    """Return how many examples have each verdict; one without a verdict counts for nothing."""
    return Counter(evidence["verdict"].to_pylist())
