"""Train two small networks on the embedded digits, audit both, and say where the results are.

Run as ``python examples/demo.py FOLDER``.
"""

import shutil
import sys
from pathlib import Path

import torch

import epsball as eb
from epsball.cli.progress import Loudness, showing

BALL = eb.Ball.parse("linf:0.1")
MODEL = "cnn_a"
PLAIN = eb.training.Recipe(epochs=30, batch_size=64, lr=0.05)
# Bounds that hold in a larger ball while training leave certificates in BALL room.
CERTIFIED = eb.training.IBP(ball=eb.Ball.parse("linf:0.16"), kappa=0.0, l1=1e-4)
RISING = eb.training.Recipe(epochs=100, batch_size=64, optimiser="adam", lr=0.01, weight_decay=0.0, warm_up=0.4)


def train(objective: eb.training.Objective, recipe: eb.training.Recipe, folder: Path) -> eb.Training:
    """Train MODEL on the training digits and report."""
    torch.manual_seed(0)
    loaded = eb.models.load(MODEL, shape=(1, 8, 8), classes=10)
    print(f"== {objective.name} training of {MODEL} on digits ({recipe.epochs} epochs)")
    result = eb.train(
        loaded.module,
        "digits",
        objective=objective,
        ball=BALL,
        recipe=recipe,
        architecture=MODEL,
        folder=folder,
    )
    last = result.history[-1]
    print(f"   held out: natural {last.natural:.3f}, under PGD-10 {last.under_attack:.3f}\n")
    return result


def main(folder: Path) -> None:
    """Run the whole demonstration in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    runs = []
    for objective, recipe in ((eb.training.Standard(), PLAIN), (CERTIFIED, RISING)):
        with showing(Loudness()):
            trained = train(objective, recipe, folder / objective.name / "training")
            run = folder / objective.name / "audit"
            # Branch and bound would settle what stays undecided of the first network, in a quarter of an hour.
            audit = eb.audit(trained.classifier, "digits", BALL, effort="standard", branching=0, folder=run)
        runs.append(run)
        eb.page(run).write()
        print(f"== audit of the {objective.name} network on the test digits, {BALL}\n{audit}\n")
    page = eb.page(*runs).write(folder / "report.html")
    print(
        f"Results are in {folder}: for each network a card with its weights, and the evidence of its audit and a page,"
    )
    print(f"for example {runs[0] / 'report.html'}. Both networks on one page, to be opened in a browser:")
    print(page.resolve().as_uri())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
