"""The trained parts of defences beside their networks: PixelDefend's prior and the detector of MLW18."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from epsball import data as datasets
from epsball.attacks import attack
from epsball.ball import Ball
from epsball.chapter.zoo.places import FACTS, DataName, Folders, data_text, network
from epsball.classifier import Classifier
from epsball.errors import InputError, lookup
from epsball.files import write_atomically, write_json
from epsball.generator_state import preserved
from epsball.masking.zoo.published.local_dimension import DimensionDetector
from epsball.masking.zoo.published.pixel_cnn import PixelCNN

WEIGHTS = "part.safetensors"

REFERENCES, FITTED, REJECTED = 100, 500, 0.05
"""Images of the detector's reference batch; images it is fitted to, at most; share of clean images it rejects."""

_SEEN = 5000
"""Training images a part may see, from the first."""

Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A trained part.

    Parameters
    ----------
    name
        The folder it is written to.
    data
        The data set.
    network
        The network of the zoo it belongs to, or None.
    empty
        Builds it without weights, from the folder of the networks.
    fit
        Trains it on images and labels of the training set; returns what was measured.
    shows
        What the zoo has it for.
    """

    name: str
    data: DataName
    network: str | None
    empty: Callable[[Path], nn.Module]
    fit: Callable[[Any, Tensor, Tensor], Facts]
    shows: str


def train_part(part: Part, folders: Folders, out: Path, seed: int = 0) -> None:
    """Train a part in its folder, if it is not there."""
    folder = out / part.name
    if (folder / FACTS).exists():
        return
    images, y = datasets.load(f"{data_text(part.data, folders)},split=train")[:_SEEN]
    begun = time.process_time()
    with preserved(seed):
        module = part.empty(out)
        facts = part.fit(module, datasets.as_pixels(images), y)
    write_atomically(folder / WEIGHTS, to_bytes(_own(module)))
    write_json(folder / FACTS, {**facts, "seconds": time.process_time() - begun})


def load_part(name: str, out: Path) -> nn.Module:
    """Return a trained part.

    Raises
    ------
    InputError
        If there is none of that name, or it is not trained.
    """
    part = lookup({part.name: part for part in PARTS}, name, "part:")
    folder = out / part.name
    if not (folder / FACTS).exists():
        raise InputError(f"{folder} holds no trained part; train it: epsball zoo train {name} --out {out}.")
    module = part.empty(out)
    module.load_state_dict({**module.state_dict(), **from_bytes((folder / WEIGHTS).read_bytes())})
    return module.eval()


def part_facts(part: Part, out: Path) -> Facts | None:
    """Return what was measured of a part, or None if it is not there."""
    path = out / part.name / FACTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _own(module: nn.Module) -> dict[str, Tensor]:
    """Return the entries of a part that are not those of the network it belongs to."""
    return {name: tensor for name, tensor in module.state_dict().items() if not name.startswith("network.")}


def _fit_prior(prior: PixelCNN, x: Tensor, y: Tensor) -> Facts:
    """Maximise the likelihood of nine tenths of the images; measure it on the others."""
    order = torch.randperm(len(x))
    held, rest = x[order[: len(x) // 10]], x[order[len(x) // 10 :]]
    epochs, batch = 80, 64
    optimiser = torch.optim.Adam(prior.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(rest)).split(batch):
            optimiser.zero_grad()
            (-prior.log_likelihood(rest[rows]).mean()).backward()
            optimiser.step()
        schedule.step()
    with torch.no_grad():
        nats = -float(prior.log_likelihood(held).mean()) / x[0].numel()
    return {"nats per pixel": nats}


def fit_detector(detector: DimensionDetector, x: Tensor, y: Tensor, *, ball: str = "linf:8/255") -> Facts:
    """Fit to clean, noisy and adversarial images; reject 5% of other clean ones.

    A third of the images at most is fitted to; as many as twice that give the threshold.

    The noise is as large as the adversarial perturbation (Ma et al., section 4, algorithm 1).
    """
    classifier = Classifier(detector.network)
    detector.references.copy_(x[:REFERENCES])
    fitted = REFERENCES + min(FITTED, (len(x) - REFERENCES) // 3)
    clean, labels = x[REFERENCES:fitted], y[REFERENCES:fitted]
    result = attack(classifier, clean, labels, Ball.parse(ball), method="pgd,steps=20", stop="never")
    size = (result.x_adv - clean).flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    noise = torch.randn_like(clean)
    noise *= size / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with torch.no_grad():
        natural = detector.dimensions(clean)
        noisy = detector.dimensions((clean + noise).clamp(0, 1))
        adversarial = detector.dimensions(result.x_adv[result.broken])
        detector.fit(torch.cat([natural, noisy]), adversarial)
        fresh = x[fitted : fitted + 2 * len(clean)]
        detector.calibrate(detector.dimensions(fresh), REJECTED)
        found = float((detector.score(adversarial) > 0).double().mean())
    return {"adversarial images of PGD rejected": found, "clean images rejected": REJECTED}


def _empty_detector(out: Path) -> nn.Module:
    references = torch.zeros(REFERENCES, 3, 32, 32)
    sequential = network("cifar-standard", out)
    if not isinstance(sequential, nn.Sequential):
        raise InputError("the network of the detector is not a torch.nn.Sequential; train it anew.")
    return DimensionDetector(sequential.eval(), references)


PARTS = (
    Part(
        name="digits-prior",
        data="digits",
        network=None,
        empty=lambda out: PixelCNN(values=17, width=32),
        fit=_fit_prior,
        shows="PixelCNN of PixelDefend (SKN18)",
    ),
    Part(
        name="cifar-detector",
        data="cifar10",
        network="cifar-standard",
        empty=_empty_detector,
        fit=fit_detector,
        shows="detector by local intrinsic dimensionality (MLW18)",
    ),
)
