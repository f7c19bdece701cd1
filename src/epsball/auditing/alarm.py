"""The alarm: raised by a point of the ball whose margin lies below the certified bound."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from epsball.auditing.link import Columns
from epsball.auditing.subject import Shard
from epsball.certificates import Domain, Problem, interval, margin_rows
from epsball.classifier.margins import margins
from epsball.errors import AssumptionError, SoundnessError
from epsball.plain import plain


def check_certificates(shard: Shard, evidence: Columns, rows: Tensor, points: Tensor, found: Tensor) -> None:
    """Compare certificates with points that an attack on the predicted classes verified.

    Parameters
    ----------
    shard, evidence
        The examples and their certificates, if there are any.
    rows
        Rows of the shard.
    points, found
        One point in the ball of each, and the margin of the predicted class there, by the canonical pass.

    Raises
    ------
    SoundnessError
        If a certificate is contradicted: a bug in epsball.
    AssumptionError
        If the contradiction vanishes where the kernels are those a float32 claim assumes.
    """
    if "certificate.margin" not in evidence:
        return
    bound = evidence["certificate.margin"][rows]
    for at in torch.nonzero(bound > found)[:, 0].tolist():
        row = int(rows[at])
        predicted = int(evidence["natural.prediction"][row])
        if evidence["certificate.semantics"][row] == "real":
            _settle_real(shard, row, points[at], predicted, float(bound[at]))
        else:
            _settle_float32(shard, row, points[at], predicted, float(bound[at]))


def _settle_float32(shard: Shard, row: int, point: Tensor, predicted: int, bound: float) -> None:
    """Judge the point again, alone, on the CPU, without kernels that the error analysis does not cover."""
    network = copy.deepcopy(shard.subject.classifier.network).to("cpu", torch.float32).eval()
    with torch.no_grad(), _plain_kernels():
        logits = network(plain(point.unsqueeze(0).cpu()))
    margin = float(margins(logits, torch.tensor([predicted]))[0])
    if margin < bound:
        raise SoundnessError(_described(shard, row, predicted, bound, margin))
    raise AssumptionError(
        f"{_where(shard, row)} has a point whose margin by this device's kernels lies below the certified bound "
        f"{bound:.9g}, but is {margin:.9g} by plain float32 kernels: the kernels break the assumption that "
        "convolutions are sums of products (no Winograd or FFT). Certify with semantics='real', or run on the CPU."
    )


@contextmanager
def _plain_kernels() -> Iterator[None]:
    """Switch oneDNN and NNPACK off: the remaining kernels are sums of products."""
    onednn = torch.backends.mkldnn.enabled
    try:
        torch.backends.mkldnn.set_flags(False, _fp32_precision=None)  # pyright: ignore[reportArgumentType]
        with torch.backends.nnpack.flags(enabled=False):
            yield
    finally:
        torch.backends.mkldnn.set_flags(onednn, _fp32_precision=None)  # pyright: ignore[reportArgumentType]


def _settle_real(shard: Shard, row: int, point: Tensor, predicted: int, bound: float) -> None:
    """Evaluate the real-valued network rigorously at the point: a float32 point alone contradicts nothing."""
    verifier = shard.subject.verifier("real")
    at_point = Domain.at(point.unsqueeze(0).cpu())
    graph = verifier.bounded
    rows = margin_rows(verifier.places(torch.tensor([predicted])), graph.classes)
    lowest = Problem(graph=graph, domain=at_point, specification=-rows, arithmetic=verifier.arithmetic)
    highest = -interval(lowest).rows[0]
    margin = float(highest.min())
    if margin < bound:
        raise SoundnessError(_described(shard, row, predicted, bound, margin))


def _where(shard: Shard, row: int) -> str:
    return f"the example at position {int(shard.positions[row])} of the data"


def _described(shard: Shard, row: int, predicted: int, bound: float, margin: float) -> str:
    return (
        f"{_where(shard, row)} is certified to keep a margin of {bound:.9g} for class {predicted} on the whole ball "
        f"{shard.subject.ball}, but a verified point of the ball has {margin:.9g}: a bug in epsball. Please report it "
        f"with the model, the example, and seed {shard.subject.seed}."
    )
