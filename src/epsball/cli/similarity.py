"""``epsball similarity``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclopts import Parameter
from torch import Tensor

from epsball import data as datasets
from epsball.attacks import attack
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.cli.common import Common, Output, load_data, load_model, output, png
from epsball.cli.progress import showing_progress
from epsball.errors import InputError
from epsball.files import write_atomically
from epsball.results import arrow_bytes
from epsball.similarity import Similarities, Similarity, cka, shift, similarities


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared, and how.

    Parameters
    ----------
    layers
        all, stages, or patterns of names with commas.
    kernel
        linear or rbf.
    estimator
        debiased or plain.
    also
        A further model, once for each: every pair is compared, as for checkpoints of one training.
    elsewhere
        Further inputs: the shift of the similarity from DATA to them.
    adversarial
        A ball: model B then sees PGD-40 examples found for it in that ball.
    batch_size
        Most rows per batch.
    """

    layers: str = "all"
    kernel: Literal["linear", "rbf"] = "linear"
    estimator: Literal["debiased", "plain"] = "debiased"
    also: list[str] | None = None
    elsewhere: str | None = None
    adversarial: str | None = None
    batch_size: int | None = None

    def options(self) -> dict[str, Any]:
        """Return the options of `cka` and `similarities`."""
        named = self.layers in ("all", "stages")
        layers = self.layers if named else [name.strip() for name in self.layers.split(",")]
        return {"layers": layers, "kernel": self.kernel, "estimator": self.estimator, "batch_size": self.batch_size}


_COMPARISON, _COMMON = Comparison(), Common()


def similarity(
    model_a: str,
    model_b: str,
    data: str,
    /,
    *,
    comparison: Comparison = _COMPARISON,
    out: Path | None = None,
    common: Common = _COMMON,
) -> Output:
    """Compare the representations of two models on the same data, layer by layer (CKA).

    With --out, the matrix goes there as similarity.csv, .arrow and .png (with --also .arrow and .png).

    Parameters
    ----------
    model_a, model_b
        The models.
    data
        The inputs; their labels are used only to attack.
    out
        Folder of the results.
    """
    also, elsewhere, adversarial = comparison.also, comparison.elsewhere, comparison.adversarial
    texts = [model_a, model_b, *(also or [])]
    if also and (elsewhere or adversarial):
        raise InputError("--also compares every pair on the same inputs; leave out --elsewhere and --adversarial.")
    if also and len(set(texts)) < len(texts):
        raise InputError("a model is named twice; with --also, each model is named once.")
    ball = None if adversarial is None else Ball.parse(adversarial)
    dataset = load_data(data, model_a, common)
    models = [_classifier(text, dataset, ball, common) for text in texts]
    options = comparison.options()
    notes: dict[str, Any] = {}
    with showing_progress():
        if also:
            result = similarities(dict(zip(texts, models, strict=True)), _pixels(dataset), **options)
        else:
            result = _compared(models, dataset, ball, common, options)
            if elsewhere is not None:
                moved = shift(result, _compared(models, load_data(elsewhere, model_a, common), ball, common, options))
                notes["shift"] = moved.to_json() if common.json else f"on {elsewhere}\n{moved}"
    if out is not None:
        _write(result, out)
        notes["written"] = str(out)
    return output(result, common, heading=f"{' and '.join(texts)} on {data}", notes=notes)


def _compared(
    models: list[Classifier], dataset: datasets.Dataset, ball: Ball | None, common: Common, options: dict[str, Any]
) -> Similarity:
    """Return the similarity of two models; the second sees adversarial examples where there is a ball."""
    first, second = models
    x = _pixels(dataset)
    x_b = None if ball is None else _attacked(second, x, dataset[:][1], ball, options["batch_size"], common)
    return cka(first, second, x, x_b, **options)


def _write(result: Similarity | Similarities, folder: Path) -> None:
    if isinstance(result, Similarity):
        write_atomically(folder / "similarity.csv", result.to_csv().encode())
    write_atomically(folder / "similarity.arrow", arrow_bytes(result.to_arrow()))
    write_atomically(folder / "similarity.png", png(result.plot()))


def _pixels(dataset: datasets.Dataset) -> Tensor:
    return datasets.as_pixels(dataset[:][0])


def _attacked(
    classifier: Classifier, x: Tensor, y: Tensor, ball: Ball, batch_size: int | None, common: Common
) -> Tensor:
    return attack(classifier, x, y, ball, stop="never", seed=common.seed, batch_size=batch_size).x_adv


def _classifier(text: str, dataset: datasets.Dataset, ball: Ball | None, common: Common) -> Classifier:
    loaded = load_model(text, dataset, common)
    if ball is None:
        return loaded.classifier()
    return loaded.classifier(low=ball.low, high=ball.high)
