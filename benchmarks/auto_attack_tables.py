"""The tables of `auto_attack.py`: every run, accuracy against passes, and goals against results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from epsball.results import text_table

REFERENCE, CERTIFIED = "reference", "certificates"
BARE_OF = (REFERENCE, "autoattack")
"""Contenders whose CPU time is set against that of their bare passes."""
CERTIFYING = {"CROWN + ensemble": "crown", "cascade + ensemble": "auto"}
"""Contenders that certify first, and by which method."""
SHARE = 0.2
"""Share of the reference's passes and CPU time that the Ensemble may take."""
OVERHEAD = 1.25
"""CPU time of `autoattack`, at most, in that of plain calls of the same sizes (at full batches in older files)."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """How many images are unbroken after a component, and the passes spent until then."""

    name: str
    passes: int
    standing: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one contender reached on one network with one seed.

    Parameters
    ----------
    images, accuracy
        Number of images, and the share left unbroken.
    forward, backward, seconds
        Passes of everything it did (bounds count as forwards), and CPU time.
    bare
        CPU time of as many plain passes at full batches, 0 where it was not measured.
    same_calls
        CPU time of as many plain calls of the same batch sizes, 0 where it was not measured.
    stages, standing
        What each component left, and which images are unbroken.
    """

    contender: str
    network: str
    seed: int
    images: int
    accuracy: float
    forward: int
    backward: int
    seconds: float
    bare: float
    stages: tuple[Stage, ...]
    standing: list[bool]
    same_calls: float = 0.0

    @property
    def passes(self) -> int:
        """Forwards and backwards."""
        return self.forward + self.backward


def tables(outcomes: Sequence[Outcome]) -> str:
    """Return all tables."""
    return "\n\n".join((runs(outcomes), yields(outcomes), goals(outcomes)))


def runs(outcomes: Sequence[Outcome]) -> str:
    """Return one line per run, with its share of the reference's passes and time for the same network and seed."""
    base = {(o.network, o.seed, o.images): o for o in outcomes if o.contender == REFERENCE}
    rows = []
    for o in outcomes:
        against = base.get((o.network, o.seed, o.images))
        shares = ("-", "-")
        if against is not None:
            shares = (f"{o.passes / against.passes:.3f}", f"{o.seconds / against.seconds:.3f}")
        over = [f"{o.seconds / plain:.2f}" if plain else "-" for plain in (o.bare, o.same_calls)]
        cells = (f"{o.accuracy:.3f}", str(o.forward), str(o.backward), f"{o.seconds:.1f}", *over, *shares)
        rows.append((o.network, str(o.images), str(o.seed), o.contender, *cells))
    header = (
        "network",
        "images",
        "seed",
        "contender",
        "accuracy",
        "forward",
        "backward",
        "CPU s",
        "/ bare",
        "/ same calls",
    )
    return text_table((*header, "passes", "time"), sorted(rows, key=lambda row: (row[0], row[2], row[3])))


def yields(outcomes: Sequence[Outcome]) -> str:
    """Return what each component broke, and accuracy against passes, for the first seed of each network."""
    rows = []
    first = {o.network: min(p.seed for p in outcomes if p.network == o.network) for o in outcomes}
    for o in sorted(outcomes, key=lambda o: (o.network, o.contender)):
        if o.seed == first[o.network]:
            left = o.stages[0].standing
            for stage in o.stages:
                cells = (stage.name, str(left - stage.standing), f"{stage.standing / o.images:.3f}", str(stage.passes))
                rows.append((o.network, o.contender, *cells))
                left = stage.standing
    return text_table(("network", "contender", "component", "broke", "accuracy", "passes until then"), rows)


def goals(outcomes: Sequence[Outcome]) -> str:
    """Return, for each network, whether accuracy, passes and time reach their goals."""
    rows = []
    for network in dict.fromkeys(o.network for o in outcomes):
        of = {
            name: [o for o in outcomes if (o.network, o.contender) == (network, name)]
            for name in (REFERENCE, "autoattack", "ensemble", *CERTIFYING)
        }
        if not of[REFERENCE]:
            continue
        highest = max(o.accuracy for o in of[REFERENCE])
        cost, seconds = (_mean(of[REFERENCE], unit) for unit in (_passes, _seconds))
        for name in ("autoattack", "ensemble", *CERTIFYING):
            if of[name]:
                worst, mean = max(o.accuracy for o in of[name]), _mean(of[name], _accuracy)
                passes, share = _mean(of[name], _passes) / cost, _mean(of[name], _seconds) / seconds
                over = [_over(of[name], plain) for plain in (_bare, _same_calls)]
                measured = [ratio for ratio in over if ratio is not None]
                cheap = measured[-1] <= OVERHEAD if measured else max(passes, share) <= SHARE
                ratios = ["-" if ratio is None else f"{ratio:.2f}" for ratio in over]
                cells = (f"{worst:.3f} <= {highest:.3f}", f"{mean:.3f}, {_mean(of[REFERENCE], _accuracy):.3f}")
                reached = (str(worst <= highest), str(cheap))
                rows.append((network, name, *cells, f"{passes:.3f}", f"{share:.3f}", *ratios, *reached))
    header = ("network", "contender", "highest accuracy", "mean", "passes", "time", "/ bare", "/ same calls")
    return text_table((*header, "accuracy", "cost"), rows)


def _over(outcomes: Sequence[Outcome], plain: Callable[[Outcome], float]) -> float | None:
    """Return CPU time over that of plain passes, of the outcomes for which that was measured; None without any."""
    measured = [outcome for outcome in outcomes if plain(outcome)]
    return round(_mean(measured, _seconds) / _mean(measured, plain), 2) if measured else None


def _passes(outcome: Outcome) -> float:
    return outcome.passes


def _seconds(outcome: Outcome) -> float:
    return outcome.seconds


def _accuracy(outcome: Outcome) -> float:
    return outcome.accuracy


def _bare(outcome: Outcome) -> float:
    return outcome.bare


def _same_calls(outcome: Outcome) -> float:
    return outcome.same_calls


def _mean(outcomes: Sequence[Outcome], of: Callable[[Outcome], float]) -> float:
    return sum(map(of, outcomes)) / len(outcomes)
