"""Print a Markdown table of bad inputs and the message each gets: ``python tools/messages.py > docs/messages.md``."""

import copy
from collections.abc import Callable

import torch
from torch import nn

import epsball as eb
from epsball.attacks import PGD, expectation_over_transformation

BALL = eb.Ball.parse("linf:0.1")
torch.manual_seed(0)
NET = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
X, Y = eb.data.load("digits")[:20]
LABELS = NET(X).argmax(1)


class Changed(nn.Module):
    """The network with something done to its output or input."""

    def __init__(self, change: Callable[[nn.Module, torch.Tensor], object]) -> None:
        super().__init__()
        self.net, self.change = NET, change

    def forward(self, x: torch.Tensor) -> object:
        """Return the changed output."""
        return self.change(self.net, x)


def attack(change: Callable[[nn.Module, torch.Tensor], object]) -> Callable[[], object]:
    """Return an attack on a changed network."""
    return lambda: eb.attack(eb.Classifier(Changed(change)), X, Y, BALL)


def capture(change: Callable[[nn.Module, torch.Tensor], object]) -> Callable[[], object]:
    """Return the capture of a changed network."""
    return lambda: eb.graph.capture(Changed(change), (1, 8, 8))


def on(x: torch.Tensor, y: torch.Tensor, ball: eb.Ball = BALL) -> Callable[[], object]:
    """Return an attack on the plain network with these inputs."""
    return lambda: eb.attack(eb.Classifier(NET), x, y, ball)


CASES: dict[str, Callable[[], object]] = {
    "outputs are probabilities": attack(lambda net, x: net(x).softmax(1)),
    "logits are NaN": attack(lambda net, x: net(x) * float("nan")),
    "logits of rank 3": attack(lambda net, x: net(x)[..., None]),
    "a single score": attack(lambda net, x: net(x)[:, :1]),
    "a dictionary": attack(lambda net, x: {"logits": net(x)}),
    "class indices": attack(lambda net, x: net(x).argmax(1, keepdim=True).expand(-1, 10)),
    "random outputs": attack(lambda net, x: net(x) + torch.randn(len(x), 10)),
    "batch statistics": attack(lambda net, x: net((x - x.mean(0)) / (x.std(0) + 1e-3))),
    "a detached input": attack(lambda net, x: net(x.detach()).requires_grad_() * 1),
    "a model that fails": attack(lambda net, x: net(x[:, :, :5])),
    "a function for a model": lambda: eb.Classifier(lambda x: x),
    "inputs of whole numbers, other than uint8": on((X * 255).int(), Y),
    "inputs 0..255": on(X * 255, Y),
    "normalised inputs": on((X - 0.3) / 0.35, Y),
    "inputs just outside the box": on(X + 1e-7, Y),
    "NaN in an input": on(X.index_fill(0, torch.tensor([3]), float("nan")), Y),
    "one example without batch axis": on(X[0, 0, 0], Y),
    "float labels": on(X, Y.float()),
    "one-hot labels": on(X, nn.functional.one_hot(Y, 10)),
    "labels from 1": on(X, Y + 1),
    "too few labels": on(X, Y[:-1]),
    "radius 8": lambda: eb.Ball("linf", 8),
    "negative radius": lambda: eb.Ball("l2", -1),
    "unknown norm": lambda: eb.Ball.parse("l_inf:0.1"),
    "ball outside the classifier's box": on(X, Y, eb.Ball("linf", 0.1, -1, 1)),
    "unknown attack": lambda: eb.attack(eb.Classifier(NET), X, Y, BALL, method="apdg"),
    "an attack that needs more than a text": lambda: eb.attack(eb.Classifier(NET), X, Y, BALL, method="colision"),
    "... and its right name": lambda: eb.attack(eb.Classifier(NET), X, Y, BALL, method="collision"),
    "a norm that the attack does not define": lambda: eb.attack(
        eb.Classifier(NET), X, Y, eb.Ball("l1", 1), method="hop-skip-jump"
    ),
    "targets for other examples": lambda: eb.attack(eb.Classifier(NET), X, Y, BALL, method=PGD(targets=Y[:5])),
    "a target that is the label": lambda: eb.attack(
        eb.Classifier(NET), X, LABELS, BALL, method=PGD(targets=torch.full_like(Y, int(LABELS[0])))
    ),
    "a targeted loss without targets": lambda: PGD(loss="targeted-dlr"),
    "a loss that is a batch mean": lambda: eb.attack(
        eb.Classifier(NET), X, LABELS, BALL, method=PGD(loss=nn.functional.cross_entropy)
    ),
    "averaged gradients of an attack without any": lambda: expectation_over_transformation("square", samples=20),
    "a module for a classifier": lambda: eb.attack(NET, X, Y, BALL),
    "a text for a ball": lambda: eb.attack(eb.Classifier(NET), X, Y, "linf:0.1"),
    "unknown option of an attack": lambda: eb.attack(eb.Classifier(NET), X, Y, BALL, method="pgd,step=5"),
    "no steps": lambda: PGD(steps=0),
    "bad step size": lambda: eb.attack(eb.Classifier(NET), X, Y, BALL, method=PGD(step_size="radius*steps")),
    "training without a ball": lambda: eb.train(NET, "digits", objective="pgd"),
    "adversarial training with radius 0": lambda: eb.training.PGD(ball=eb.Ball("linf", 0)),
    "TRADES with a negative beta": lambda: eb.training.TRADES(ball=BALL, beta=-1.0),
    "TRADES started where its gradient is zero": lambda: eb.training.TRADES(ball=BALL, start="none"),
    "training with no steps": lambda: eb.training.PGD(ball=BALL, steps=0),
    "an option of another objective": lambda: eb.train(NET, "digits", objective="standard,beta=6"),
    "ema and swa at once": lambda: eb.training.Recipe(ema=0.999, swa=0.5),
    "unknown augmentation": lambda: eb.training.Recipe(augment="crops=4"),
    "bf16 training of a float64 model": lambda: eb.train(
        copy.deepcopy(NET).double(), "digits", recipe=eb.training.Recipe(precision="bf16")
    ),
    "batch larger than the data": lambda: eb.train(NET, "digits", recipe=eb.training.Recipe(batch_size=5000)),
    "unknown data": lambda: eb.data.load("digit"),
    "a folder that is not there": lambda: eb.data.load("idx:nowhere"),
    "more examples than there are": lambda: eb.data.load("digits,first=5000"),
    "unknown architecture": lambda: eb.models.load("small_cn"),
    "weights that are not there": lambda: eb.models.load("mlp@nowhere.pt", shape=(1, 8, 8), classes=10),
    "an ONNX file that is not there": lambda: eb.models.load("net.onnx"),
    "a certified model with a branch": capture(lambda net, x: net(x) if x.sum() > 0 else -net(x)),
    "a certified model that looks at its batch": capture(lambda net, x: net(x - x.mean(0))),
    "a certified model that jumps": capture(lambda net, x: net(x.round())),
    "a certified model with casts": capture(lambda net, x: net(x).half().float()),
}


def seen() -> dict[str, eb.EpsballError]:
    """Return the error that each case ends with; a case without one is an error."""
    found = {}
    for name, case in CASES.items():
        try:
            case()
        except eb.EpsballError as error:
            found[name] = error
    if missing := set(CASES) - set(found):
        raise RuntimeError(f"no error: {', '.join(missing)}")
    return found


def table(found: dict[str, eb.EpsballError]) -> str:
    """Return the page."""
    head = "Made by `python tools/messages.py`; [errors](errors/index.md) say what rules are for."
    lines = ["# What bad input gets", "", head, "", "| input | message | page |", "| --- | --- | --- |"]
    for name, error in found.items():
        said = f"`{type(error).__name__}`: {error}".replace("|", chr(92) + "|")
        lines.append(f"| {name} | {said} | [{error.page}](errors/{error.page}.md) |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(seen()))
