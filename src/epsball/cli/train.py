"""``epsball train``."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter
from torch import nn

from epsball import data as datasets
from epsball import training
from epsball.ball import Ball
from epsball.cli.common import Common, Output, load_model, output
from epsball.cli.configuration import flags_text, from_file
from epsball.cli.progress import showing_progress
from epsball.data import Dataset
from epsball.errors import InputError
from epsball.files import write_atomically
from epsball.training import Objective

_COMMON = Common()
_RECIPE = training.Recipe()
RESOLVED = "config.yaml"
_Flag = Annotated[bool, Parameter(negative=())]

train = App(name="train", help_format="plaintext", config=from_file)


@train.default
def train_command(
    objective: str,
    model: str,
    data: str,
    *,
    out: Path,
    ball: str | None = None,
    steps: int | None = None,
    step_size: str | None = None,
    start: str | None = None,
    beta: float | None = None,
    awp: float | None = None,
    source: str | None = None,
    save_every: int = 250,
    override: _Flag = False,
    tensorboard: _Flag = False,
    dry_run: _Flag = False,
    config: Path | None = None,
    recipe: Annotated[training.Recipe, Parameter(name="*")] = _RECIPE,
    common: Common = _COMMON,
) -> Output:
    """Train a model; write its weights, its card and the history of its epochs.

    OUT/card.json (the last epoch) and OUT/best.json (the best on the part held out) name the
    trained model in every other command. The same command goes on after a kill. Several
    processes share each batch under torchrun or accelerate launch.

    Parameters
    ----------
    objective
        NAME[,option=value]..: standard, pgd, fgsm-rs, free, trades, mart, kgb17, stability,
        input-gradient, cascade, or awp,objective=NAME.
    model
        The architecture, or a model to go on from.
    data
        The training data; its train split is read unless the text says otherwise.
    out
        Folder of weights, cards, history, logs and checkpoints.
    ball
        The perturbation set trained for and reported on; objectives without one only report on it.
    steps, step_size, start
        Of the inner search.
    beta
        Weight of the divergence of trades and mart.
    awp
        Size of an adversarial weight perturbation put around the objective.
    source
        For cascade: the model defended before.
    save_every
        Steps between two checkpoints.
    override
        Go on from a checkpoint of another configuration.
    tensorboard
        Write the log for TensorBoard, too.
    dry_run
        Print steps, passes and an estimate of the time; train nothing.
    config
        A YAML file of these flags; the resolved ones are written to OUT/config.yaml.
    """
    flags = {name: value for name, value in locals().items() if name in _SAVED} | dataclasses.asdict(recipe)
    dataset = datasets.load(data, split="train")
    perturbation = None if ball is None else Ball.parse(ball)
    inner = {"steps": steps, "step_size": step_size, "start": start, "beta": beta}
    defended = None if source is None else _network(source, dataset, perturbation, common)
    chosen = _objective(objective, inner, awp, perturbation, defended)
    loaded = load_model(model, dataset, common)
    common_part: dict[str, Any] = {
        "objective": chosen,
        "mean": loaded.mean,
        "std": loaded.std,
        "ball": perturbation,
        "recipe": recipe,
    }
    heading = f"{objective} training of {model} on {len(dataset)} examples of {data}"
    if dry_run:
        return output(training.plan(loaded.module, dataset, **common_part), common, heading=heading, notes={})
    first = training.join().first
    if first and not (out / RESOLVED).exists():
        write_atomically(out / RESOLVED, flags_text(flags).encode())
    with showing_progress():
        result = training.train(
            loaded.module,
            dataset,
            **common_part,
            architecture=loaded.architecture,
            folder=out,
            save_every=save_every,
            override=override,
            tensorboard=tensorboard,
        )
    if not first:
        return Output("")
    write_atomically(out / RESOLVED, flags_text(flags).encode())
    return output(result, common, heading=heading, notes={"written": str(result.checkpoint)})


_SAVED = (
    "objective",
    "model",
    "data",
    "ball",
    "steps",
    "step_size",
    "start",
    "beta",
    "awp",
    "source",
    "save_every",
    "tensorboard",
)


def _objective(
    text: str, inner: dict[str, object], awp: float | None, ball: Ball | None, source: nn.Module | None
) -> Objective:
    """Return the objective of a text with the options given as flags; those it does not take are refused."""
    given = [f"{name}={value}" for name, value in inner.items() if value is not None]
    chosen = training.resolve(",".join([text, *given]), ball, source=source)
    if awp is None:
        return chosen
    if not isinstance(chosen, training.Adversarial):
        raise InputError(f"--awp cannot wrap the objective '{text}'; its search and loss are one. Leave it out.")
    return training.AWP(objective=chosen, gamma=awp)


def _network(text: str, dataset: Dataset, ball: Ball | None, common: Common) -> nn.Module:
    """Return a model behind its normalisation."""
    loaded = load_model(text, dataset, common)
    low, high = (0.0, 1.0) if ball is None else (ball.low, ball.high)
    return loaded.classifier(low=low, high=high).network
