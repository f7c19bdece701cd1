"""``epsball similarity``."""

from pathlib import Path
from typing import Literal

from torch import Tensor

from epsball import data as datasets
from epsball.attacks import attack
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.cli.common import Common, Output, load_model, output, png
from epsball.cli.progress import showing_progress
from epsball.files import write_atomically
from epsball.similarity import cka

_COMMON = Common()


def similarity(
    model_a: str,
    model_b: str,
    data: str,
    /,
    *,
    layers: str = "all",
    kernel: Literal["linear", "rbf"] = "linear",
    estimator: Literal["debiased", "plain"] = "debiased",
    adversarial: str | None = None,
    batch_size: int | None = None,
    out: Path | None = None,
    common: Common = _COMMON,
) -> Output:
    """Compare the representations of two models on the same data, layer by layer (CKA).

    With --out, the matrix goes there as similarity.csv and similarity.png.

    Parameters
    ----------
    model_a, model_b
        The models.
    data
        The inputs; their labels are used only to attack.
    layers
        all, stages, or patterns of names with commas.
    kernel
        linear or rbf.
    estimator
        debiased or plain.
    adversarial
        A ball: model B then sees PGD-40 examples found for it in that ball.
    batch_size
        Most rows in a batch.
    out
        Folder of the results.
    """
    dataset = datasets.load(data)
    x, y = dataset[:]
    x = datasets.as_pixels(x)
    ball = None if adversarial is None else Ball.parse(adversarial)
    a, b = (_classifier(text, dataset, ball, common) for text in (model_a, model_b))
    chosen = layers if layers in ("all", "stages") else layers.split(",")
    with showing_progress():
        x_b = None if ball is None else _attacked(b, x, y, ball, batch_size, common)
        result = cka(a, b, x, x_b, layers=chosen, kernel=kernel, estimator=estimator, batch_size=batch_size)
    notes: dict[str, str] = {}
    if out is not None:
        write_atomically(out / "similarity.csv", result.to_csv().encode())
        write_atomically(out / "similarity.png", png(result.plot()))
        notes["written"] = str(out)
    return output(result, common, heading=f"{model_a} and {model_b} on {data}", notes=notes)


def _attacked(
    classifier: Classifier, x: Tensor, y: Tensor, ball: Ball, batch_size: int | None, common: Common
) -> Tensor:
    found = attack(classifier, x, y, ball, stop="never", seed=common.seed, batch_size=batch_size)
    if found.interrupted:
        raise KeyboardInterrupt
    return found.x_adv


def _classifier(text: str, dataset: datasets.Dataset, ball: Ball | None, common: Common) -> Classifier:
    loaded = load_model(text, dataset, common)
    if ball is None:
        return Classifier(loaded.module, loaded.mean, loaded.std)
    return Classifier(loaded.module, loaded.mean, loaded.std, low=ball.low, high=ball.high)
