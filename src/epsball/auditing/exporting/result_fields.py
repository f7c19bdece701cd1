"""What was found: shares with exact intervals, per class too, the diagnosis, witnesses, certificates and costs."""

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Bool

from epsball.auditing.evidence import accuracy_under_attack
from epsball.auditing.exporting.field import Value
from epsball.auditing.exporting.reader import Reader
from epsball.auditing.exporting.run_files import Absent
from epsball.ball import Ball
from epsball.risk import RiskDecomposition, decompose, natural_accuracy
from epsball.statistics import Interval, clopper_pearson

Flags = Bool[np.ndarray, " n"]


def _share(counted: Flags, note: str | None = None) -> Value:
    """Return the share of the examples that are counted, with its Clopper-Pearson interval."""
    count, n = int(counted.sum()), len(counted)
    return Value(value=count / n, interval=clopper_pearson(count, n), count=count, of=n, note=note)


def _tensor(flags: Flags) -> torch.Tensor:
    return torch.from_numpy(flags.copy())


def _natural(read: Reader) -> Value:
    correct, failed = read.flag("natural.correct"), read.flag("natural.failed")
    found = natural_accuracy(_tensor(correct), _tensor(failed))
    note = f"{int(failed.sum())} examples without a verdict count as right" if failed.any() else None
    return Value(
        value=found.value, interval=found.interval, count=int((correct | failed).sum()), of=len(correct), note=note
    )


def _standing(read: Reader) -> Flags:
    """Return which examples stand under all attacks; those without a verdict do."""
    return (read.flag("natural.correct") & ~read.broken()) | read.flag("natural.failed")


def _under_attack(read: Reader) -> Value:
    standing = _standing(read)
    correct, failed, broken = read.flag("natural.correct"), read.flag("natural.failed"), read.broken()
    columns = {"natural.correct": correct, "natural.failed": failed, "attack.broken": broken}
    found = accuracy_under_attack({name: _tensor(flags) for name, flags in columns.items()})
    note = "an upper end of robust accuracy: a stronger attack can only lower it"
    return Value(value=found.value, interval=found.interval, count=int(standing.sum()), of=len(standing), note=note)


def _certified(read: Reader) -> Value:
    return _share(read.certified(), "a lower end of robust accuracy: right, and proved by bounds on the whole ball")


def _undecided(read: Reader) -> Value:
    decided = read.broken() | ~read.flag("natural.correct")
    if read.has("certificate.certified"):
        decided |= read.certified()
    return _share(~decided & ~_invalid(read), "right, neither broken nor certified")


def _invalid(read: Reader) -> Flags:
    return np.array([reason is not None for reason in read.column("invalid.reason")])


def _worst(of: Callable[[Reader], Flags]) -> Callable[[Reader], Value]:
    """Return how the least share over the classes is measured, its interval at 95% for all classes together."""

    def measure(read: Reader) -> Value:
        label, counted = read.column("label"), of(read)
        classes = np.unique(label)
        shares = [counted[label == c].mean() for c in classes]
        worst = classes[int(np.argmin(shares))]
        here = counted[label == worst]
        count, n = int(here.sum()), len(here)
        interval = clopper_pearson(count, n, 1.0 - 0.05 / len(classes))
        note = f"class {worst}, the lowest of {len(classes)}; the interval holds for all classes at once (Bonferroni)"
        return Value(value=count / n, interval=interval, count=count, of=n, note=note)

    return measure


def _risks(read: Reader) -> RiskDecomposition:
    correct, failed, broken = read.flag("natural.correct"), read.flag("natural.failed"), read.broken()
    certified = _tensor(read.certified()) if read.has("certificate.certified") else None
    return decompose(_tensor(correct), _tensor(broken), certified, _tensor(failed))


def _boundary(read: Reader) -> Value:
    risk = _risks(read).boundary
    note = f"between {risk.low:.4f} and {risk.high:.4f} on these examples: right, and flippable within the ball"
    return Value(value=risk.low, interval=risk.interval, note=note)


def _robust(read: Reader) -> Value:
    risk = _risks(read).robust
    interval = None if risk.interval is None else risk.interval.complement()
    note = f"at least; at most {1.0 - risk.low:.4f} on these examples"
    return Value(value=1.0 - risk.high, interval=interval, note=note)


def _optimal(read: Reader) -> Value:
    read.table_column("limit.arrow", "limit.hard")
    found = read.document("chain.json", "places", "1 - optimal adversarial risk")
    ends = found["interval"]
    interval = None if ends is None else Interval(ends["low"], ends["high"])
    return Value(value=float(found["value"]), interval=interval, note="no classifier is more robust on these examples")


def _diagnosis(read: Reader) -> Value:
    verdict = read.document("diagnosis.json", "verdict")
    reasons = read.document("diagnosis.json", "reasons")
    examined = int(read.table_column("diagnosis.arrow", "diagnosis.examined").sum())
    why = f" because of: {', '.join(reasons)}" if reasons else "; no check calls for another verdict"
    note = f"whether accuracy under attack can be trusted: {examined} examples examined{why}"
    return Value(value=f"gradient masking: {verdict}", note=note)


def _power(read: Reader) -> Value:
    power = read.document("diagnosis.json", "power")
    interval = Interval(power["interval"]["low"], power["interval"]["high"])
    note = "the share of planted witnesses that the attack found"
    return Value(value=power["share"], interval=interval, count=power["found"], of=power["planted"], note=note)


def _witnesses(read: Reader) -> Value:
    ball = Ball.parse(read.document("run.json", "identity", "ball"))
    broken = int(read.broken().sum())
    x, x_adv = read.witnesses("x"), read.witnesses("x_adv")
    inside = int(ball.contains(x_adv, x).sum()) if len(x) else 0
    if inside < len(x):
        raise Absent(f"{len(x) - inside} witnesses lie outside their balls")
    note = f"one for each of {broken} broken examples, each exactly inside the ball about its example"
    return Value(value=inside, note=note)


def _by_method(read: Reader) -> Value:
    certified = read.certified()
    names = Counter(read.column("certificate.method")[certified].tolist())
    said = ", ".join(f"{name}: {count}" for name, count in sorted(names.items()))
    return Value(value=said or "no example was certified", note="certified examples by the method that proved them")


def _replayable(read: Reader) -> Value:
    certified = read.certified()
    count, n = int((read.flag("certificate.replayable") & certified).sum()), int(certified.sum())
    if not n:
        raise Absent("no example was certified")
    return Value(
        value=count / n, count=count, of=n, note="certified examples whose certificate anyone can replay from a file"
    )


def _passes(read: Reader) -> Value:
    forwards, backwards = int(read.ledger("forwards").sum()), int(read.ledger("backwards").sum())
    note = "one per example and forward or backward pass, guards and padded rows included, the diagnosis left out"
    return Value(value=forwards + backwards, note=f"{forwards} forward, {backwards} backward; {note}")


RESULT_FIELDS: Mapping[str, Callable[[Reader], Value]] = {
    "natural accuracy": _natural,
    "accuracy under attack": _under_attack,
    "certified accuracy": _certified,
    "robust accuracy": _robust,
    "undecided": _undecided,
    "invalid": lambda read: _share(_invalid(read), "the model gave no finite logits, or an attack made it fail"),
    "natural accuracy, worst class": _worst(lambda read: read.flag("natural.correct")),
    "accuracy under attack, worst class": _worst(_standing),
    "certified accuracy, worst class": _worst(lambda read: read.certified()),
    "boundary risk": _boundary,
    "1 - optimal adversarial risk": _optimal,
    "diagnosis": _diagnosis,
    "power of the attack": _power,
    "witnesses": _witnesses,
    "certificates by method": _by_method,
    "replayable certificates": _replayable,
    "passes": _passes,
}
"""How each field is read off the evidence."""
