"""One step of training after another: network, optimiser, schedule and average."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from epsball import data as datasets
from epsball.classifier import Classifier
from epsball.deployed_state import DeployedState
from epsball.errors import EpsballError, InputError, ModelError
from epsball.generator_state import preserved
from epsball.randomness import Keys
from epsball.recipe import Recipe
from epsball.training.engine.augmentation import augment, parse_augmentation
from epsball.training.engine.averaging import Average
from epsball.training.engine.batches import Batches, number_of_batches
from epsball.training.engine.network import Network
from epsball.training.engine.optimisers import MakeOptimiser, make_schedule, recipe_optimiser
from epsball.training.objectives.objective import Context, Losses, Objective, Replaying, require_losses
from epsball.training.objectives.preparing import Preparing
from epsball.training.processes import Processes

PROBED = 32
"""Examples on which an objective checks the network before the first step."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, on which data, how, and by which processes."""

    classifier: Classifier
    objective: Objective
    dataset: datasets.Dataset
    fitted: Tensor
    recipe: Recipe
    processes: Processes
    optimiser: MakeOptimiser | None = None


@dataclass
class Stepper:
    """Module, optimiser, schedule, average and the objective's state after `step` steps.

    Losses stay on the device until `drain` reads them, so that no step waits for them.
    """

    task: Task
    step: int = 0
    pending: list[tuple[int, dict[str, Tensor]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        task, recipe = self.task, self.task.recipe
        classifier = task.classifier
        self.augmentations = parse_augmentation(recipe.augment)
        example, _ = self._examples(task.fitted[:2])
        self.network = Network(classifier.network, example, recipe)
        self.cache: dict[Any, Any] = {}
        replays = task.objective.replays if isinstance(task.objective, Replaying) else 1
        self.batches = Batches(task.fitted, recipe, replays, self._fewest_rows())
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        if not parameters:
            raise ModelError("the model has no trainable parameter; unfreeze some with requires_grad_(True).")
        self.optimiser = (task.optimiser or recipe_optimiser(recipe))(parameters)
        self.schedule = make_schedule(recipe.schedule, self.optimiser, self.batches.total)
        self.average = Average(classifier.network, recipe)
        self.state: dict[str, Any] = {}

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def begin(self, *, fresh: bool = True) -> None:
        """Put the network into training mode, check that the objective can train it, and set a fresh one's weights.

        Parameters
        ----------
        fresh
            Whether this is the first step of the training, not of a resumed part of it.
        """
        try:
            self.network.train()
        except NotImplementedError as error:
            raise ModelError(
                f"the model cannot be put into training mode ({error}); train the original module."
            ) from error
        if isinstance(self.task.objective, Preparing):
            self._prepare(self.task.objective, fresh)

    def _prepare(self, objective: Preparing, fresh: bool) -> None:
        task = self.task
        rows = task.fitted[:PROBED]
        x, y = self._examples(rows)
        keys = Keys.of_positions(rows.to(x.device), task.recipe.seed)
        context = self._context(keys, torch.arange(len(rows)), len(rows))
        objective.check(self.network, x, y, replace(context, share=1.0), task.recipe)
        if fresh:
            objective.begin(self.network, x, y, context)
            task.processes.equalise(self.network)

    def advance(self) -> None:
        """Take one step of the optimiser."""
        task, rows = self.task, self.batches[self.step]
        positions = torch.arange(len(rows))
        mine = task.processes.share(positions)
        x, y = self._examples(rows[mine])
        places = Keys.of_positions(rows[mine].to(x.device), task.recipe.seed)
        context = self._context(places.derive(self.step), mine, len(rows))
        # The replays of a batch see one augmentation: what an objective keeps between them belongs to that image.
        x = augment(x, places.derive(self.batches.first_of(self.step), "augment"), self.augmentations)
        losses = require_losses(task.objective(self.network, x, y, context), len(y), task.objective.name)
        self._descend(losses, len(rows))
        self.pending.append((self.step, _sums(losses)))
        self.step += 1

    def _context(self, keys: Keys, positions: Tensor, total: int) -> Context:
        """Return what the objective may know of this step, for its part of a batch."""
        return Context(
            step=self.step,
            keys=keys,
            positions=positions,
            total=total,
            state=self.state,
            share=self._share(),
            smoothing=self.task.recipe.label_smoothing,
            processes=self.task.processes,
            cache=self.cache,
        )

    def _fewest_rows(self) -> int:
        """Return the least number of rows of a batch: two per process if one fails on the fewer it would get."""
        task, count = self.task, self.task.processes.count
        least = len(task.fitted) // number_of_batches(len(task.fitted), task.recipe) // count
        return 2 * count if least < 2 and not self._takes(least) and self._takes(2) else 1

    def _takes(self, n: int) -> bool:
        """Return whether the objective runs on a batch of n examples, with the network in training mode."""
        task, state = self.task, DeployedState(self.network)
        rows = task.fitted[torch.arange(n) % len(task.fitted)]
        context = Context(
            step=0,
            keys=Keys.of_positions(rows, task.recipe.seed),
            positions=torch.arange(len(rows)),
            total=max(1, len(rows)),
            state={},
            cache=self.cache,
        )
        try:
            with preserved():
                self.network.train()
                task.objective(self.network, *self._examples(rows), context)
        except EpsballError:
            return True  # about something else, and raised again by the first step
        except (ValueError, RuntimeError, IndexError):
            return False
        finally:
            state.restore()
        return True

    def _examples(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        classifier = self.task.classifier
        x, y = self.task.dataset.take(rows)
        device = classifier.device
        return classifier.to_model(datasets.as_pixels(x.to(device))), y.to(device)

    def _share(self) -> float:
        """Return the share of the radius in force."""
        rising = self.task.recipe.warm_up * self.batches.total
        return min(1.0, (self.step + 1) / rising) if rising else 1.0

    def _descend(self, losses: Losses, total: int) -> None:
        """Take the optimiser's step for sum_i loss_i / total + the term of the weights, over all processes."""
        processes = self.task.processes
        loss = losses.examples.sum() / total
        if losses.weights is not None:
            loss = loss + losses.weights / processes.count
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        gradients = [p.grad for group in self.optimiser.param_groups for p in group["params"] if p.grad is not None]
        if processes.count > 1:
            for gradient, total_gradient in zip(gradients, processes.sum(gradients), strict=True):
                gradient.copy_(total_gradient)
        if isinstance(self.task.objective, Preparing) and self.task.objective.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.task.objective.clip)
        self.optimiser.step()
        self.schedule.step()
        self.average.after_step()

    def drain(self) -> tuple[int, dict[str, float]]:
        """Return how many examples the steps since the last call used, and the sums of their losses and parts.

        Raises
        ------
        EpsballError
            If a loss was not finite.
        InputError
            If the names of the parts were not the same in all steps.
        """
        if not self.pending:
            return 0, {}
        names = list(self.pending[0][1])
        if any(list(sums) != names for _, sums in self.pending):
            raise InputError(f"the parts of the objective's losses change from step to step; always give {names}.")
        table = torch.stack([torch.stack([sums[name].double() for name in names]) for _, sums in self.pending])
        (table,) = self.task.processes.sum([table])
        steps, self.pending = [step for step, _ in self.pending], []
        bad = (~torch.isfinite(table)).any(1).nonzero()
        if len(bad):
            row = table[bad[0, 0]]
            worst = names[int((~torch.isfinite(row)).nonzero()[0])]
            self._diverged(steps[int(bad[0])], f"{worst} is {float(row[names.index(worst)])} at")
        examples = sum(len(self.batches[step]) for step in steps)
        return examples, dict(zip(names, table.sum(0).tolist(), strict=True))

    def require_finite(self) -> None:
        """Raise EpsballError if a weight is not finite: a finite loss can have a gradient that is not."""
        network = self.task.classifier.network
        if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
            self._diverged(self.step - 1, "a weight is not finite after")

    def _diverged(self, step: int, what: str) -> NoReturn:
        epoch, number = divmod(step, self.batches.per_epoch)
        objective = self.task.objective
        mend = objective.mend if isinstance(objective, Preparing) else "Lower lr"
        raise EpsballError(
            f"{what} epoch {epoch + 1}, batch {number + 1} of {self.batches.per_epoch} (step {step + 1}): training "
            f"diverged. {mend}; the last checkpoint, if any, is kept."
        )

    def save(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the run, the same on all processes."""
        network = self.task.classifier.network
        tensors = {name: tensor.cpu().clone() for name, tensor in _tensors(network).items()}
        return {
            "step": self.step,
            "tensors": tensors,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": self.average.state(),
        }

    def load(self, kept: dict[str, Any]) -> None:
        """Restore what a checkpoint kept.

        Raises
        ------
        ModelError
            If the module has other parameters or buffers.
        """
        network = self.task.classifier.network
        mine = _tensors(network)
        if {n: t.shape for n, t in mine.items()} != {n: t.shape for n, t in kept["tensors"].items()}:
            raise ModelError("the checkpoint is of a module with other parameters; give the module it was made with.")
        for name, tensor in mine.items():
            tensor.copy_(kept["tensors"][name])
        self.step = kept["step"]
        self.optimiser.load_state_dict(copy.deepcopy(kept["optimiser"]))
        self.schedule.load_state_dict(kept["schedule"])
        self.average.load(kept["average"])


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer, also those that the state dict leaves out."""
    return {name: tensor.detach() for name, tensor in (*network.named_parameters(), *network.named_buffers())}


def _sums(losses: Losses) -> dict[str, Tensor]:
    """Return the sums of the losses and their parts over this process's examples, still on the device."""
    sums = {"loss": losses.examples.detach().sum(), **{name: part.sum() for name, part in losses.parts.items()}}
    if losses.weights is not None:
        sums["weights"] = losses.weights.detach() * len(losses.examples)
    return sums
