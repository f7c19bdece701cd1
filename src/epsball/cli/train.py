"""``epsball train``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from epsball import data as datasets
from epsball import training
from epsball.ball import Ball
from epsball.cli.common import Common, Output, load_model, output
from epsball.cli.progress import showing_progress
from epsball.errors import InputError

_COMMON = Common()
_RECIPE = training.Recipe()


def train(
    objective: str,
    model: str,
    data: str,
    /,
    *,
    out: Path,
    ball: str | None = None,
    steps: int | None = None,
    step_size: str | None = None,
    start: str | None = None,
    recipe: Annotated[training.Recipe, Parameter(name="*")] = _RECIPE,
    common: Common = _COMMON,
) -> Output:
    """Train a model; write its weights, its card and the history of its epochs.

    The card, OUT/card.json, names the trained model in every other command.

    Parameters
    ----------
    objective
        standard or pgd.
    model
        The architecture, or a model to go on from.
    data
        The training data; its train split is read unless the text says otherwise.
    out
        Folder of weights, card and history.
    ball
        The perturbation set trained for and reported on; standard training only reports on it.
    steps, step_size, start
        Of the inner search.
    """
    perturbation = None if ball is None else Ball.parse(ball)
    inner = {"steps": steps, "step_size": step_size, "start": start}
    chosen = _objective(objective, perturbation, {name: value for name, value in inner.items() if value is not None})
    dataset = datasets.load(data, split="train")
    loaded = load_model(model, dataset, common)
    with showing_progress():
        result = training.train(
            loaded.module,
            dataset,
            objective=chosen,
            mean=loaded.mean,
            std=loaded.std,
            ball=perturbation,
            recipe=recipe,
            architecture=loaded.architecture,
            folder=out,
        )
    heading = f"{objective} training of {model} on {len(dataset)} examples of {data}"
    return output(result, common, heading=heading, notes={"written": str(result.checkpoint)})


def _objective(name: str, ball: Ball | None, options: dict[str, object]) -> training.Objective:
    """Return the objective of that name with the options given; those it does not take are refused."""
    kind = training.named(name)
    fields = kind.__dataclass_fields__
    unknown = [option for option in options if option not in fields]
    if unknown:
        raise InputError(f"the objective '{name}' takes no --{unknown[0].replace('_', '-')}; leave it out.")
    if "ball" not in fields:
        return kind(**options)
    if ball is None:
        raise InputError(f"the objective '{name}' needs --ball, as in --ball linf:8/255.")
    return kind(ball=ball, **options)
