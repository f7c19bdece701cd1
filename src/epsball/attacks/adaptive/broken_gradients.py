"""`BrokenGradients`: what to run where a model's gradients are zero or mislead."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor, nn

from epsball.attacks.adaptive.before_output import LogitsBefore
from epsball.attacks.adaptive.surrogate_gradients import SurrogateGradients, surrogate_gradients
from epsball.attacks.black_box.nes import NES
from epsball.attacks.black_box.spsa import SPSA
from epsball.attacks.black_box.square import Square
from epsball.attacks.composed.multi_start import MultiStart
from epsball.attacks.engine.evaluator import GradientNoise
from epsball.attacks.engine.query import Query, SearchEnded
from epsball.attacks.gradient.apgd import APGD, TargetedAPGD
from epsball.attacks.parts.attack import Attack
from epsball.attacks.parts.tensors import box_width
from epsball.ball import Ball
from epsball.errors import NoGradientError
from epsball.randomness import Keys

SURROGATE, TRUSTED, BEFORE = "surrogate", "trusted", "before output"
"""Names of the gradients: custom functions differentiated through their forward, or by their own backward, and the
gradients of the logits before what squashes them at the network's end."""

RANDOM_SAMPLES, RANDOM_MOST = 5, 8
"""For models that draw random numbers: evaluations per gradient, and most runs of `MultiStart`."""

_PROGRESS = 0.9
"""A trial that leaves at most this share of the margin that was there before it earns a long run."""

_NEAR_ENOUGH = 0.75
"""Square earns its long run where at most this share of the example's own margin is left."""


@dataclass(frozen=True, kw_only=True)
class BrokenGradients(Attack):
    """Attacks for examples whose gradients are zero or mislead, each on what the one before left unbroken.

    1. Auto-PGD under surrogate gradients (`SurrogateGradients`), with custom functions differentiated through their
       forward and, where there are any, with their own backward. Where that gradient is exactly zero too, the same on
       the logits before what squashes them at the network's end (`BeforeOutput`). Each example goes on with whichever
       left it the lower margin.
    2. Under that gradient, where it moved the margin: runs towards each of the nine likeliest other classes,
       Square with a polish, and `MultiStart`.
    3. Square with 1,000 queries, and with 4,000 more where the margin fell to three quarters of the example's own.
    4. SPSA and NES: a short trial each, and a long run where the trial lowered the margin by a tenth.

    An example that never breaks costs at most 15,600 passes.

    Parameters
    ----------
    queries
        Proposals of Square under surrogate gradients; what needs no gradient scales with it. The numbers above are
        those of 300.
    patience, most
        Of `epsball.attacks.composed.multi_start.MultiStart`.
    """

    name: ClassVar[str] = "broken gradients"

    queries: int = 300
    patience: float = 3.0
    most: int = 70

    def __call__(self, query: Query, ball: Ball, *, keys: Keys) -> None:
        """Search the neighbourhoods of the active examples."""
        _Course(self, query, ball, keys).run()


def follow_up(
    query: Query, ball: Ball, keys: Keys, rows: Int64[Tensor, " k"], *, queries: int, patience: float, most: int
) -> None:
    """Run `BrokenGradients` on some of the active examples; for a random model on averaged gradients, and shorter."""
    if len(rows) == 0:
        return
    view = query.of(rows)
    if query.stochastic:
        view, most = view.averaged(RANDOM_SAMPLES, GradientNoise()), min(most, RANDOM_MOST)
    plan = BrokenGradients(queries=queries, patience=patience, most=most)
    with suppress(SearchEnded):
        plan(view, ball, keys=keys.derive(plan.name))
    query.catch_up()


class _Course:
    """One run of the attacks."""

    def __init__(self, plan: BrokenGradients, query: Query, ball: Ball, keys: Keys) -> None:
        self.plan, self.query, self.ball, self.keys = plan, query, ball, keys
        self.custom = False
        self._flat = torch.zeros(query.total, dtype=torch.bool, device=query.index.device)
        self._names: dict[str, dict[str, None]] = {"replaced": {}, "missed": {}}

    def run(self) -> None:
        """Run all of them; SearchEnded where no example is left."""
        query = self.query
        before = self._by_position(query.best()[1])
        try:
            reached = {SURROGATE: self._race(SURROGATE)}
            flat = self._flat.clone()
            if self.custom:
                reached[TRUSTED] = self._race(TRUSTED)
            if not query.stochastic:
                reached[BEFORE] = self._race(BEFORE, self._rows(flat))
                if bool((reached[BEFORE] < before).any()):
                    query.note("gradients of the logits before the network's last operations")
        finally:
            self._say()
        best = torch.stack(list(reached.values())).amin(0)
        chosen = torch.zeros_like(best, dtype=torch.bool)
        for gradient, margin in reached.items():
            mine = (margin == best) & (margin < before) & ~chosen
            chosen |= mine
            self._pursue(gradient, mine)
        self._square()
        if self.ball.norm != "l1":
            self._estimate()

    def _race(self, gradient: str, rows: Int64[Tensor, " k"] | None = None) -> Float64[Tensor, " total"]:
        """Run Auto-PGD on the margin under a gradient; return the lowest margins, by position."""
        rows = self._everyone() if rows is None else rows
        return self._stage(f"{gradient} apgd-margin", APGD(steps=20, loss="margin"), rows, gradient)

    def _pursue(self, gradient: str, chosen: Bool[Tensor, " total"]) -> None:
        """Run the rest of the ensemble under a gradient, where it moved the margin."""
        shots = MultiStart(patience=self.plan.patience, most=self.plan.most)
        for attack in (
            TargetedAPGD(steps=7, loss="targeted-margin"),
            Square(queries=self.plan.queries, polish=20),
            shots,
        ):
            self._stage(f"{gradient} {attack.name}", attack, self._rows(chosen), gradient)

    def _square(self) -> None:
        """Run Square, and for longer where it is promising."""
        self._stage("square trial", Square(queries=self._scaled(1000)), self._everyone())
        promising = self.query.best()[1] <= _NEAR_ENOUGH * self.query.natural
        self._stage("square at length", Square(queries=self._scaled(4000)), torch.nonzero(promising)[:, 0])

    def _estimate(self) -> None:
        """Run attacks on estimated gradients, and for longer where a trial made progress."""
        share = self.query.neighbourhood.radius / box_width(self.query.neighbourhood)
        if self.ball.norm == "l2":
            share /= self.query.x[0].numel() ** 0.5
        trials: tuple[tuple[Attack, Attack], ...] = (
            (
                SPSA(steps=self._scaled(20), pairs=16, delta=0.5 * share, learning_rate=0.2 * share),
                SPSA(steps=self._scaled(60), pairs=32, delta=0.5 * share, learning_rate=0.1 * share),
            ),
            (
                NES(steps=self._scaled(20), pairs=12, sigma=0.25 * share, loss="margin"),
                NES(steps=self._scaled(40), pairs=25, sigma=0.25 * share, loss="margin"),
            ),
        )
        for trial, long in trials:
            before = self._by_position(self.query.best()[1])
            reached = self._stage(f"{trial.name} trial", trial, self._everyone())
            natural = self._by_position(self.query.natural)
            worth = (reached <= _PROGRESS * before) | (reached <= _PROGRESS * natural)
            self._stage(long.name, long, self._rows(worth & (reached < torch.inf)))

    def _scaled(self, number: int) -> int:
        """Return a number of steps or queries, stated for 300 queries of the ensemble's Square, for this plan's."""
        return max(1, number * self.plan.queries // 300)

    # Parts ----------------------------------------------------------------------------------------------------

    def _stage(
        self, label: str, attack: Attack, rows: Int64[Tensor, " k"], gradient: str | None = None
    ) -> Float64[Tensor, " total"]:
        """Run an attack on some active examples; return the lowest margin that its last restart saw, by position."""
        if len(rows):
            view = self.query.of(rows)
            asked = view.index
            if gradient == BEFORE:
                view = view.seen_by(LogitsBefore)
            if gradient is not None:
                view = view.differentiated_by(functools.partial(self._surrogates, trusting=gradient == TRUSTED))
                view = view.leaving_flat()
            view.begin_stage(label)
            try:
                with suppress(SearchEnded):
                    attack(view, self.ball, keys=self.keys.derive(label))
                self._flat[asked[~torch.isin(asked, view.index)]] = True
            except NoGradientError:
                self._flat[asked] = True
            self.query.catch_up()
            return self._by_position(self.query.lowest_seen())
        return self._by_position(torch.full_like(self.query.natural, torch.inf))

    @contextmanager
    def _surrogates(self, network: nn.Module, *, trusting: bool) -> Iterator[SurrogateGradients]:
        """Run the network with surrogate gradients, and keep what was seen of it."""
        with surrogate_gradients(network, trusting=trusting) as mode:
            yield mode
        self.custom |= mode.custom
        self._names["replaced"] |= mode.replaced
        self._names["missed"] |= mode.missed

    def _say(self) -> None:
        """Note which operations got a surrogate, and which did not."""
        if self._names["replaced"]:
            self.query.note(f"surrogate gradients of {', '.join(self._names['replaced'])}")
        if self.custom:
            self.query.note("custom autograd functions were differentiated through their forward, then trusted")
        scripted = self.query.scripted()
        if scripted:
            self.query.note(f"not reached by surrogate gradients: TorchScript ({', '.join(scripted)})")
        if self._names["missed"]:
            self.query.note(f"not reached by surrogate gradients: {', '.join(self._names['missed'])}")

    def _everyone(self) -> Int64[Tensor, " n"]:
        return torch.arange(len(self.query.index), device=self.query.index.device)

    def _rows(self, positions: Bool[Tensor, " total"]) -> Int64[Tensor, " k"]:
        """Return the active examples that are flagged by position."""
        return torch.nonzero(positions[self.query.index])[:, 0]

    def _by_position(self, values: Float64[Tensor, " n"]) -> Float64[Tensor, " total"]:
        """Return values of the active examples by position in the call's x, infinite elsewhere."""
        query = self.query
        out = torch.full((query.total,), torch.inf, dtype=torch.float64, device=values.device)
        out[query.index] = values.double()
        return out
