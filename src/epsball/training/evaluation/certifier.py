"""Certificates after an epoch, as far as they are cheap: the upper side of the robust risks."""

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from epsball.ball import Ball
from epsball.certificates import Certification, Verifier, arithmetic_of
from epsball.classifier import Classifier
from epsball.errors import AssumptionError, ModelError, UnsupportedOperation
from epsball.generator_state import preserved

SHARE = 0.1
"""Largest share of the time trained so far that certificates may take."""

FIRST = 1.0
"""Assumed seconds for capturing the network and bounding one example, until they are measured."""

TOO_EXPENSIVE = f"no certificates: they would take more than {SHARE:.0%} of the time trained so far"
ENOUGH = 30
"""Number of held-out examples after which an epoch is given up if none of them is certified."""

BATCH = 32
METHODS = ("interval", "crown-ibp")

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class CertifiedExamples:
    """Which of the first m examples of each pair are certified, (m,), and how it went."""

    certified: tuple[Bool[Tensor, " _"], ...]
    note: str

    @classmethod
    def none(cls, pairs: Sequence[Pair], note: str = "") -> "CertifiedExamples":
        """Return that no certificate was tried."""
        return cls(certified=tuple(torch.zeros(0, dtype=torch.bool) for _ in pairs), note=note)


@dataclass(kw_only=True)
class Certifier:
    """Certifies examples by `METHODS` in at most `SHARE` of the time trained so far.

    A batch is skipped if its last cost says that it will not fit in the time left; an epoch is
    given up if none of the first `ENOUGH` examples is certified. The claims are about the float32
    network. On other devices they are made for a copy on the CPU, whose rounding the same claim covers.

    Parameters
    ----------
    spent
        Seconds spent so far.
    least
        Seconds that the smallest attempt, capture and one example, took last time.
    """

    spent: float = 0.0
    least: float = FIRST

    def __call__(self, classifier: Classifier, pairs: Sequence[Pair], ball: Ball, trained: float) -> CertifiedExamples:
        """Return certificates of the pairs (x, y), batch by batch in turn, after `trained` seconds of training."""
        left = SHARE * trained - self.spent
        if left < self.least:
            return CertifiedExamples.none(pairs, TOO_EXPENSIVE)
        begun = time.perf_counter()
        try:
            # Capturing draws a few inputs, which must not change what training draws.
            with preserved():
                return self._bounded(classifier, pairs, ball, begun, left)
        except (ModelError, UnsupportedOperation, AssumptionError) as error:
            return CertifiedExamples.none(pairs, f"no certificates: {error}")
        finally:
            self.spent += time.perf_counter() - begun

    def _bounded(
        self, classifier: Classifier, pairs: Sequence[Pair], ball: Ball, begun: float, left: float
    ) -> CertifiedExamples:
        """Return the certificates found in `left` seconds from `begun` on."""
        here = _on_the_cpu(classifier, ball)
        verifier = Verifier.of(here, tuple(pairs[0][0].shape[1:]), arithmetic_of("float32"))
        run = Certification(verifier=verifier, ball=ball, methods=METHODS)
        certified = [torch.zeros(0, dtype=torch.bool) for _ in pairs]
        per_example = 0.0  # seconds, of the last batch
        for which, rows in _in_turn([len(y) for _, y in pairs]):
            started = time.perf_counter()
            if started - begun + per_example * (rows.stop - rows.start) > left:
                break
            x, y = pairs[which]
            found = run.certificates(here, here.to_model(x[rows].cpu()), y[rows].cpu()).certified
            certified[which] = torch.cat([certified[which], found])
            per_example = (time.perf_counter() - started) / len(found)
            if rows.start == which == 0:
                self.least = time.perf_counter() - begun
            if rows.stop >= ENOUGH and not bool(certified[0].any()):
                break
        if not len(certified[0]):
            return CertifiedExamples.none(pairs, TOO_EXPENSIVE)
        counts = ", ".join(f"{int(c.sum())} of {len(c)}" for c in certified)
        note = f"{' and '.join(METHODS)} certify {counts} (held out, trained on)"
        return CertifiedExamples(certified=tuple(certified), note=note)


def _in_turn(lengths: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """Yield (which, rows): one batch of each in turn, of 1, 2, 4, ... examples up to `BATCH`."""
    begin, size = 0, 1
    while begin < max(lengths):
        for which, length in enumerate(lengths):
            if begin < length:
                yield which, slice(begin, min(begin + size, length))
        begin, size = begin + size, min(2 * size, BATCH)


def _on_the_cpu(classifier: Classifier, ball: Ball) -> Classifier:
    if classifier.device.type == "cpu":
        return classifier
    return Classifier(copy.deepcopy(classifier.network).cpu(), low=ball.low, high=ball.high)
