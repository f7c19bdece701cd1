"""``epsball similarity``."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from epsball.cli.common import AS_BALL, Common, Folder, Output, load_data, load_model, output, shown_by
from epsball.errors import InputError
from epsball.files import write_atomically, write_json
from epsball.names import Estimator, KernelName

if TYPE_CHECKING:
    from torch import Tensor

    from epsball.ball import Ball
    from epsball.classifier import Classifier
    from epsball.data import Dataset
    from epsball.similarity import Similarities, Similarity


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared, and how.

    Parameters
    ----------
    layers
        all, stages, or patterns of names with commas, as in layer1.*,fc.
    kernel
        The kernel on the rows of a layer.
    estimator
        The estimator; plain is biased upwards where there are more features than rows.
    also
        A further model, once for each: every pair is compared, as for checkpoints of one training.
    elsewhere
        Further inputs: the shift of the similarity from DATA to them.
    adversarial
        A ball, as in linf:8/255: model B then sees PGD-40 examples found for it in that ball.
    batch_size
        Most rows per batch; by default as many as fit.
    """

    layers: str = "all"
    kernel: KernelName = "linear"
    estimator: Estimator = "debiased"
    also: list[str] | None = None
    elsewhere: str | None = None
    adversarial: Annotated[str | None, AS_BALL] = None
    batch_size: int | None = None

    def options(self) -> dict[str, Any]:
        """Return the options of `cka` and `similarities`."""
        named = self.layers in ("all", "stages")
        layers = self.layers if named else [name.strip() for name in self.layers.split(",")]
        return {"layers": layers, "kernel": self.kernel, "estimator": self.estimator, "batch_size": self.batch_size}


_COMPARISON, _COMMON = Comparison(), Common()
_ModelA = Annotated[str, Parameter(help="The first model, as in card.json.")]
_ModelB = Annotated[str, Parameter(help="The second model.")]
_Inputs = Annotated[str, Parameter(help="The inputs, as in digits,first=200; their labels are used only to attack.")]


def similarity(
    model_a: _ModelA,
    model_b: _ModelB,
    data: _Inputs,
    /,
    *,
    comparison: Comparison = _COMPARISON,
    out: Folder = None,
    common: Common = _COMMON,
) -> Output:
    """Compare the representations of two models on the same data, layer by layer (CKA).

    With --out, the matrix goes there as similarity.csv, .arrow, .json and .png (with --also .arrow and .png); where
    that is the folder of an audit, epsball report shows it in the run's page.
    """
    from epsball.ball import Ball
    from epsball.similarity import shift, similarities

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
    if also:
        result = similarities(dict(zip(texts, models, strict=True)), _pixels(dataset), **options)
    else:
        result = _compared(models, dataset, ball, common, options)
        if elsewhere is not None:
            moved = shift(result, _compared(models, load_data(elsewhere, model_a, common), ball, common, options))
            notes["shift"] = moved.to_json() if common.json else f"on {elsewhere}\n{moved}"
    if out is not None:
        _write(result, out, (model_a, model_b if ball is None else f"{model_b} on adversarial examples"))
        notes["written"] = str(out)
        notes |= shown_by(out)
    return output(result, common, heading=f"{' and '.join(texts)} on {data}", notes=notes)


def _compared(
    models: "list[Classifier]", dataset: "Dataset", ball: "Ball | None", common: Common, options: dict[str, Any]
) -> "Similarity":
    """Return the similarity of two models; the second sees adversarial examples where there is a ball."""
    from epsball.similarity import cka

    first, second = models
    x = _pixels(dataset)
    x_b = None if ball is None else _attacked(second, x, dataset[:][1], ball, options["batch_size"], common)
    return cka(first, second, x, x_b, **options)


def _write(result: "Similarity | Similarities", folder: Path, names: tuple[str, str]) -> None:
    from epsball.figures import png
    from epsball.results import arrow_bytes
    from epsball.similarity import Similarity

    if isinstance(result, Similarity):
        write_atomically(folder / "similarity.csv", result.to_csv().encode())
        write_json(folder / "similarity.json", {"models": names, **result.to_json()})
    write_atomically(folder / "similarity.arrow", arrow_bytes(result.to_arrow()))
    figure = result.plot(names) if isinstance(result, Similarity) else result.plot()
    write_atomically(folder / "similarity.png", png(figure))


def _pixels(dataset: "Dataset") -> "Tensor":
    from epsball import data as datasets

    return datasets.as_pixels(dataset[:][0])


def _attacked(
    classifier: "Classifier", x: "Tensor", y: "Tensor", ball: "Ball", batch_size: int | None, common: Common
) -> "Tensor":
    from epsball.attacks import attack

    return attack(classifier, x, y, ball, stop="never", seed=common.seed, batch_size=batch_size).x_adv


def _classifier(text: str, dataset: "Dataset", ball: "Ball | None", common: Common) -> "Classifier":
    loaded = load_model(text, dataset, common)
    if ball is None:
        return loaded.classifier()
    return loaded.classifier(low=ball.low, high=ball.high)
