"""What ISO/IEC 24029-2 asks of a formal method: how its properties and the kinds of its methods map to evidence."""

from collections.abc import Callable, Mapping

import numpy as np

from epsball.auditing.exporting.field import Value
from epsball.auditing.exporting.reader import Reader
from epsball.auditing.exporting.run_files import Absent

_SOLVERS = {"lp", "lp-tight", "sdp"}
_LIPSCHITZ = {"lipschitz"}
_COMPLETE = "complete"


def _methods(read: Reader) -> list[str]:
    certified = read.certified()
    names = sorted(set(read.column("certificate.method")[certified].tolist()))
    if not names:
        raise Absent("no example was certified, so no method proved anything")
    return names


def _completeness(read: Reader) -> Value:
    names = _methods(read)
    if names == [_COMPLETE]:
        return Value(value="complete", note="branch and bound: decides every region, given enough passes")
    if _COMPLETE in names:
        return Value(value="complete and incomplete", note="branch and bound after bounds that may leave a case open")
    return Value(value="incomplete", note=f"{', '.join(names)}: what they leave open may be robust or not")


def _determinism(read: Reader) -> Value:
    return Value(value="deterministic", note=f"{', '.join(_methods(read))}: bounds that hold with certainty")


def _arithmetic(read: Reader) -> Value:
    semantics = read.document("run.json", "identity", "links", "certificate", "semantics")
    if semantics == "real":
        return Value(value="real arithmetic", note="the claim is about the real-valued function of the stored weights")
    return Value(value="computer arithmetic", note="the claim is about the deployed network in IEEE float32")


def _access(read: Reader) -> Value:
    _methods(read)
    return Value(value="glass-box", note="certificates use the network's graph and weights")


def _kinds(read: Reader) -> Value:
    names = set(_methods(read))
    kinds = ["solver"] if names & _SOLVERS else []
    kinds += ["solver and abstract interpretation (branch and bound)"] if _COMPLETE in names else []
    kinds += ["Lipschitz constants"] if names & _LIPSCHITZ else []
    kinds += ["abstract interpretation"] if names - _SOLVERS - _LIPSCHITZ - {_COMPLETE} else []
    return Value(value=", ".join(kinds), note=f"methods: {', '.join(sorted(names))}")


def _seen_fall(read: Reader) -> Value:
    right = read.flag("natural.correct")
    fall = read.column("natural.margin") - read.column("attack.margin")
    here = fall[right & np.isfinite(fall.astype(float))]
    if not len(here):
        raise Absent("no right example has a margin under attack")
    note = f"the largest fall of the margin seen within the ball, over {len(here)} right examples; a lower end"
    return Value(value=float(here.max()), note=f"{note}; the median is {float(np.median(here)):.4f}")


def _allowed_fall(read: Reader) -> Value:
    certified = read.certified()
    fall = (read.column("natural.margin") - read.column("certificate.margin"))[certified]
    if not len(fall):
        raise Absent("no example was certified")
    note = f"the largest fall of the margin that certificates allow, over {len(fall)} certified examples; an upper end"
    return Value(value=float(fall.max()), note=f"{note}; the median is {float(np.median(fall)):.4f}")


def _reached(read: Reader) -> Value:
    count, n = int(read.broken().sum()), int(read.flag("natural.correct").sum())
    return Value(value=count, count=count, of=n, note="right examples from whose ball another class is reached")


def _unreachable(read: Reader) -> Value:
    count, n = int(read.certified().sum()), int(read.flag("natural.correct").sum())
    return Value(value=count, count=count, of=n, note="right examples from whose ball no other class is reachable")


FORMAL_FIELDS: Mapping[str, Callable[[Reader], Value]] = {
    "completeness": _completeness,
    "determinism": _determinism,
    "access": _access,
    "arithmetic": _arithmetic,
    "kind of method": _kinds,
    "sensitivity, seen": _seen_fall,
    "sensitivity, allowed": _allowed_fall,
    "reached": _reached,
    "unreachable": _unreachable,
}
"""How each field is read off the evidence."""
