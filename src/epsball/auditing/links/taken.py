"""The link of what finished runs know: witnesses tried by one forward pass each, certificates of balls around this."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from epsball.attacks import AttackResult, Ledger
from epsball.auditing.fingerprint import STORED_AS
from epsball.auditing.link import Columns, Findings, Link
from epsball.auditing.points import NearestPoints
from epsball.auditing.searching import in_shard, rows_of, search_rows
from epsball.auditing.sharing.replay import Replay
from epsball.auditing.sharing.source import Piece, Source, candidate
from epsball.auditing.subject import Shard
from epsball.generator_state import preserved

BASELINE, OTHER_BALLS = "baseline", "other balls"
"""What the ledger calls passes at points of another network's run, and of the same network's within other balls."""

NEAR, STEP_SIZES = 0.5, (2.0,)
"""From points of the baseline at which the margin is at most this share of the example's own: one step of the
diameter, to the end of the ball that the gradient there points to."""

_Known = dict[int, tuple[Tensor, str, str | None]]
"""By row of the shard: a point, the file it is from, and the attack that found it."""

_Trial = tuple[str, tuple[float, ...], Callable[[Tensor], _Known]]
"""What the ledger calls a trial, its step sizes, and what it tries on some rows."""


@dataclass(frozen=True, kw_only=True)
class TakenLink(Link):
    """What is taken over from finished runs of the same examples, and from which file.

    Witnesses of the same network within other balls, and points of another network's run (its witnesses, and where
    its attack came nearest on examples that stood), are tried on the examples that are right: one forward pass each,
    then the canonical pass. What is broken by them needs no attack. A certificate of a ball around this one holds here.

    Parameters
    ----------
    runs
        What is taken over from: names and manifests, as recorded.
    balls
        Runs of the same network within other balls.
    baseline
        A run of another network within the same ball.
    near, step_sizes
        From which points of the baseline that are no witnesses steps are made, and how long they are, as of `Replay`.
    """

    name: ClassVar[str] = "taken"
    schema: ClassVar[Mapping[str, str]] = {
        "taken.broken": "bool",
        "taken.margin": "double",
        "taken.distance": "double",
        "taken.by": "string",
        "taken.witness": "string",
        "taken.stable": "bool",
        "taken.bound": "double",
        "taken.method": "string",
        "taken.semantics": "string",
        "taken.replayable": "bool",
        "taken.certificate": "string",
        "taken.natural": "string",
    }

    runs: tuple[str, ...]
    balls: tuple[Source, ...] = field(default=(), metadata={STORED_AS: None})
    baseline: Source | None = field(default=None, metadata={STORED_AS: None})
    near: float = NEAR
    step_sizes: tuple[float, ...] = STEP_SIZES

    def on_shard(self, shard: Shard, evidence: Columns) -> Findings:
        """Try what is known of the shard's examples."""
        found = shard.parts.kept(self.name, lambda: self._found(shard, evidence))
        if found is None:
            raise KeyboardInterrupt
        return found

    def _found(self, shard: Shard, evidence: Columns) -> Findings:
        columns, x_adv, ledgers = _nothing(len(shard.y)), {}, [Ledger.empty()]
        if self.balls:
            columns["taken.natural"] = _natural_files(self.balls[0], shard)
            self._take_certificates(shard, columns)
        tried: list[_Trial] = [(OTHER_BALLS, (), lambda rows: _of_balls(self.balls, shard, rows))] if self.balls else []
        if self.baseline is not None:
            run = self.baseline
            tried.append((BASELINE, self.step_sizes, lambda rows: _of_baseline(run, shard, rows)))
        for label, sizes, known_of in tried:
            left = rows_of(evidence["natural.correct"] & ~columns["taken.broken"])
            known = known_of(left)
            if known:
                result, rows = _replayed(shard, evidence, known, label, {"near": self.near, "step_sizes": sizes})
                x_adv |= _note(columns, result, rows, known, label)
                ledgers.append(in_shard(result.ledger, shard))
        return Findings(columns=columns, ledger=Ledger.concatenate(ledgers), x_adv=x_adv)

    def _take_certificates(self, shard: Shard, columns: Columns) -> None:
        """Take certificates of the smallest ball around this one that has them."""
        around = [source for source in self.balls if shard.subject.ball.within(source.ball)]
        for source in sorted(around, key=lambda source: source.ball.radius, reverse=True):
            for row, position in enumerate(shard.positions.tolist()):
                found = source.row(position)
                if found.get("certificate.stable"):
                    piece, at = source.places[position]
                    columns["taken.stable"][row] = True
                    columns["taken.bound"][row] = found["certificate.margin"]
                    columns["taken.replayable"][row] = found["certificate.replayable"]
                    columns["taken.method"][row] = found["certificate.method"]
                    columns["taken.semantics"][row] = found["certificate.semantics"]
                    columns["taken.certificate"][row] = source.certificate_file(piece, at)


def _nothing(n: int) -> Columns:
    """Return the columns of examples of which nothing is known."""
    return {
        **{f"taken.{name}": torch.zeros(n, dtype=torch.bool) for name in ("broken", "stable", "replayable")},
        **{
            f"taken.{name}": torch.full((n,), torch.nan, dtype=torch.float64)
            for name in ("margin", "distance", "bound")
        },
        **{f"taken.{name}": [None] * n for name in ("by", "witness", "method", "semantics", "certificate", "natural")},
    }


def _natural_files(source: Source, shard: Shard) -> list[str | None]:
    return [source.file("evidence", source.places[position][0]) for position in shard.positions.tolist()]


def _replayed(
    shard: Shard, evidence: Columns, known: _Known, label: str, options: dict[str, Any]
) -> tuple[AttackResult, Tensor]:
    """Try known points, with the canonical pass where one looks like a witness."""
    subject, rows = shard.subject, torch.tensor(sorted(known), dtype=torch.int64)
    points = shard.x.clone()
    for row, (point, _, _) in known.items():
        points[row] = point.to(points)
    method = Replay(label=label, points=points, first=int(shard.rows[0]), **options)
    with preserved(subject.seed if subject.classifier.stochastic else None), subject.classifier.in_use():
        return search_rows(shard, evidence, rows, method, label.replace(" ", "-")), rows


def _note(columns: Columns, result: AttackResult, rows: Tensor, known: _Known, label: str) -> dict[int, Tensor]:
    """Write what was broken into the columns; return the witnesses."""
    x_adv: dict[int, Tensor] = {}
    for at in rows_of(result.broken.cpu()).tolist():
        row = int(rows[at])
        _, file, by = known[row]
        columns["taken.broken"][row] = True
        columns["taken.margin"][row], columns["taken.distance"][row] = result.margin[at], result.distance[at]
        columns["taken.by"][row], columns["taken.witness"][row] = by or label, file
        x_adv[row] = result.x_adv[at]
    return x_adv


def _of_balls(sources: Sequence[Source], shard: Shard, rows: Tensor) -> _Known:
    """Return witnesses within other balls: those that lie in this one, else the nearest ball's."""
    ball, known, inside = shard.subject.ball, {}, set()
    for source in sorted(sources, key=lambda source: abs(source.ball.radius - ball.radius)):
        for row, point, file, by in _witnesses(source, shard, rows):
            here = bool(ball.contains(point.unsqueeze(0), shard.x[row].unsqueeze(0)))
            if row not in known or (here and row not in inside):
                known[row] = point, file, by
            inside |= {row} if here else set()
    return known


def _of_baseline(source: Source, shard: Shard, rows: Tensor) -> _Known:
    """Return the baseline's witnesses, and where its attack came nearest on examples that it did not break."""
    known: _Known = {row: (point, file, None) for row, point, file, _ in _witnesses(source, shard, rows)}
    loaded: dict[int, NearestPoints | None] = {}
    for row in rows.tolist():
        position = int(shard.positions[row])
        piece, _ = source.places[position]
        if row in known:
            continue
        if piece.number not in loaded:
            loaded[piece.number] = piece.points()
        point = candidate(loaded[piece.number], position, shard.x[row])
        if point is not None:
            known[row] = point, source.file("points", piece), None
    return known


def _witnesses(source: Source, shard: Shard, rows: Tensor) -> Iterator[tuple[int, Tensor, str, str | None]]:
    """Yield the witnesses of a source for some rows of a shard, with their file and the attack that found them."""
    loaded: dict[int, tuple[Piece, dict[int, Tensor]]] = {}
    for row in rows.tolist():
        position = int(shard.positions[row])
        piece, _ = source.places[position]
        if piece.number not in loaded:
            loaded[piece.number] = piece, source.witness(piece)
        point = loaded[piece.number][1].get(position)
        if point is not None:
            yield row, point, source.file("witnesses", piece), source.row(position)["attack.by"]
