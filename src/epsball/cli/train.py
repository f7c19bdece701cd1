"""``epsball train``."""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from epsball.cli.common import (
    AS_BALL,
    Common,
    Output,
    described,
    finished_or_partial,
    flowing,
    load_data,
    load_model,
    output,
    same_command,
)
from epsball.cli.configuration import flags_text
from epsball.errors import InputError
from epsball.files import write_atomically
from epsball.option_text import split_options
from epsball.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn

    from epsball.ball import Ball
    from epsball.data import Dataset

_COMMON = Common()
_RECIPE = Recipe()
RESOLVED = "config.yaml"
_Flag = Annotated[bool, Parameter(negative=())]

train = App(name="train", help_format="plaintext")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The folder of a run, its checkpoints and its log.

    Parameters
    ----------
    out
        Folder of weights, cards, history, logs and checkpoints, as in runs/first.
    save_every
        Steps between two checkpoints.
    override
        Resume from a checkpoint of another configuration.
    tensorboard
        Also write the log for TensorBoard.
    dry_run
        Print steps, passes and an estimate of the time; train nothing.
    config
        A YAML file of these flags; the resolved ones are written to OUT/config.yaml.
    """

    out: Path
    save_every: int = 250
    override: _Flag = False
    tensorboard: _Flag = False
    dry_run: _Flag = False
    config: Path | None = None


@Parameter(name="*", show=False)
@dataclass(frozen=True, kw_only=True)
class OldOptions:
    """Old flags, until 0.3: options of the objective, which its text holds. A flag wins over the text.

    Parameters
    ----------
    steps
        The objective's option steps.
    step_size
        The objective's option step_size.
    start
        The objective's option start.
    beta
        The objective's option beta.
    awp
        The option gamma of awp, put around the objective.
    """

    steps: int | None = None
    step_size: str | None = None
    start: str | None = None
    beta: float | None = None
    awp: float | None = None

    def folded_into(self, objective: str) -> str:
        """Return the objective's text with these options; warn if there are any."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            return objective
        head, options = split_options(objective)
        options |= {name: str(value) for name, value in given.items() if name != "awp"}
        if self.awp is not None:
            if head == "awp":
                raise InputError(f"--awp cannot wrap the objective '{objective}'; give its option gamma instead.")
            head, options = "awp", {"objective": head, "gamma": str(self.awp), **options}
        text = ",".join([head, *(f"{name}={value}" for name, value in options.items())])
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        warnings.warn(f"{flags} will go in 0.3; write the objective as '{text}'.", FutureWarning, stacklevel=3)
        return text


_OLD = OldOptions()


@train.default
def train_command(
    objective: str,
    model: str,
    data: str,
    *,
    run: RunOptions,
    ball: Annotated[str | None, AS_BALL] = None,
    source: str | None = None,
    recipe: Annotated[Recipe, Parameter(name="*")] = _RECIPE,
    old: OldOptions = _OLD,
    common: Common = _COMMON,
) -> Output:
    """Train a model; write its weights, its card and the history of its epochs.

    OUT/card.json (the last epoch) and OUT/best.json (the best on the part held out) name the
    trained model in every other command. The same command resumes after a kill. Several
    processes share each batch under torchrun or accelerate launch.

    Parameters
    ----------
    objective
        NAME[,option=value]..., as in trades,beta=6 or awp,objective=pgd; epsball list objectives names them.
        FILE.py:NAME is one of your own.
    model
        The architecture, or a model to start from, as in small_cnn or resnet.py:build.
    data
        The training data, as in digits or cifar10:FOLDER; the train split is read unless the text says otherwise.
    ball
        The perturbation set trained for and reported on, NORM:RADIUS, as in linf:8/255; objectives without
        one only report on it.
    source
        For cascade: the model trained to be robust before, as in card.json.
    """
    from epsball import training
    from epsball.ball import Ball

    objective = old.folded_into(objective)
    flags = {"objective": objective, "model": model, "data": data, "ball": ball, "source": source}
    flags |= {"save_every": run.save_every, "tensorboard": run.tensorboard, **dataclasses.asdict(recipe)}
    dataset = load_data(data, model, common, split="train")
    perturbation = None if ball is None else Ball.parse(ball)
    defended = None if source is None else _network(source, dataset, perturbation, common)
    chosen = training.resolve(objective, perturbation, source=defended)
    loaded = load_model(model, dataset, common)
    what: dict[str, Any] = {
        "objective": chosen,
        "mean": loaded.mean,
        "std": loaded.std,
        "ball": perturbation,
        "recipe": recipe,
    }
    heading = f"{objective} training of {model} on {len(dataset)} examples of {data}"
    if run.dry_run:
        return output(training.plan(loaded.module, dataset, **what), common, heading=heading, notes={})
    first, resolved = training.join().first, run.out / RESOLVED
    if first and not resolved.exists():
        write_atomically(resolved, flags_text(flags).encode())
    result, code = finished_or_partial(
        lambda: training.train(
            loaded.module,
            dataset,
            **what,
            architecture=loaded.architecture,
            folder=run.out,
            save_every=run.save_every,
            override=run.override,
            tensorboard=run.tensorboard,
        ),
        f"the last checkpoint is kept in {run.out}; go on with: {same_command()}",
    )
    if not first:
        return Output("")
    write_atomically(resolved, flags_text(flags).encode())
    return output(result, common, heading=heading, notes={"written": str(result.checkpoint)}, code=code)


def _network(text: str, dataset: "Dataset", ball: "Ball | None", common: Common) -> "nn.Module":
    """Return a model behind its normalisation."""
    loaded = load_model(text, dataset, common)
    low, high = (0.0, 1.0) if ball is None else (ball.low, ball.high)
    return loaded.classifier(low=low, high=high).network


train.help = flowing(described(train_command))
