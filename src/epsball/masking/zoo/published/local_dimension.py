"""MLW18: a detector by local intrinsic dimensionality; broken by its joint loss and by confident examples."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.attacks import PGD, Attack, Ensemble, rejecting
from epsball.attacks.parts.attack import StagedAttack
from epsball.attacks.wrappers.borrowed_gradients import BorrowedGradients
from epsball.ball import Ball
from epsball.classifier import Classifier
from epsball.errors import InputError, ModelError
from epsball.masking.zoo.defence import Defence

NEIGHBOURS = 20
"""k, with 100 references (the paper's section 5)."""

_TINY = 1e-12


def local_dimension(distances: Float[Tensor, "n k"]) -> Float[Tensor, " n"]:
    """Return -(1/k sum_i log(r_i / r_k))^-1 for the distances r_1 <= .. <= r_k to the nearest neighbours.

    The maximum likelihood estimator of local intrinsic dimensionality: Ma et al., ICLR 2018, eq. (4) (Amsaleg et al.,
    KDD 2015).

    Examples
    --------
    >>> import torch
    >>> local_dimension(torch.tensor([[0.25, 0.5, 1.0]]))
    tensor([1.4427])
    """
    logarithms = (distances.clamp_min(_TINY) / distances[:, -1:].clamp_min(_TINY)).log()
    return -1.0 / logarithms.mean(1).clamp_max(-1e-6)


class DimensionDetector(nn.Module):
    """Score inputs by a logistic regression on the local dimension of each layer's activations.

    D(x) = b + sum_l w_l (LID_l(x) - m_l) / s_l, positive where adversarial is likelier; LID_l is estimated from the k
    nearest of the reference images' activations in layer l.

    Parameters
    ----------
    network
        A `torch.nn.Sequential`; every output of its layers counts as a layer, flattened.
    references
        Clean images (m, *shape), more than k.
    neighbours
        k.

    References
    ----------
    Ma et al., "Characterizing adversarial subspaces using local intrinsic dimensionality", ICLR 2018, section 4.
    """

    references: Tensor
    weight: Tensor
    mean: Tensor
    spread: Tensor
    bias: Tensor

    def __init__(self, network: nn.Module, references: Float[Tensor, "m *shape"], neighbours: int = NEIGHBOURS) -> None:
        super().__init__()
        if not isinstance(network, nn.Sequential):
            raise ModelError(f"the network is a {type(network).__name__}; the detector needs a torch.nn.Sequential.")
        if len(references) <= neighbours:
            raise InputError(f"there are {len(references)} references; give more than the {neighbours} neighbours.")
        self.network, self.neighbours = network, neighbours
        layers = len(network)
        self.register_buffer("references", references)
        for name, start in (("weight", 0.0), ("mean", 0.0), ("spread", 1.0)):
            self.register_buffer(name, torch.full((layers,), start))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
        """Return D(x)."""
        return self.score(self.dimensions(x))

    def score(self, dimensions: Float[Tensor, "n layers"]) -> Float[Tensor, " n"]:
        """Return b + sum_l w_l (LID_l - m_l) / s_l for local dimensions."""
        return ((dimensions - self.mean) / self.spread) @ self.weight + self.bias

    def dimensions(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n layers"]:
        """Return the local dimension of each input in each layer."""
        there = self._activations(self.references)
        here = self._activations(x)
        return torch.stack([self._dimension(a, b) for a, b in zip(here, there, strict=True)], 1)

    def fit(self, clean: Float[Tensor, "n layers"], adversarial: Float[Tensor, "m layers"]) -> None:
        """Fit the logistic regression to local dimensions of clean (and noisy) and of adversarial inputs."""
        features = torch.cat([clean, adversarial]).double()
        positive = torch.cat([torch.zeros(len(clean)), torch.ones(len(adversarial))]).double()
        balance = torch.where(positive > 0, 0.5 / len(adversarial), 0.5 / len(clean))
        mean, spread = features.mean(0), features.std(0).clamp_min(1e-6)
        standard = (features - mean) / spread
        parameters = torch.zeros(features.shape[1] + 1, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            score = standard @ parameters[:-1] + parameters[-1]
            fit = nn.functional.binary_cross_entropy_with_logits(score, positive, weight=balance, reduction="sum")
            value = fit + 1e-3 * parameters[:-1].square().sum()
            value.backward()
            return value

        optimiser.step(loss)
        for buffer, values in (
            (self.weight, parameters[:-1]),
            (self.bias, parameters[-1]),
            (self.mean, mean),
            (self.spread, spread),
        ):
            buffer.copy_(values.detach())

    def calibrate(self, clean: Float[Tensor, "n layers"], rejected: float) -> None:
        """Move b so that this share of clean inputs is rejected."""
        self.bias.sub_(self.score(clean).quantile(1 - rejected))

    def _activations(self, x: Tensor) -> Sequence[Tensor]:
        outputs = []
        for layer in self.network:
            x = layer(x)
            outputs.append(x.flatten(1))
        return outputs

    def _dimension(self, a: Tensor, b: Tensor) -> Tensor:
        distances = torch.cdist(a, b)
        # A reference is not its own neighbour.
        distances = distances.masked_fill(distances < _TINY, torch.inf)
        return local_dimension(distances.topk(self.neighbours, dim=1, largest=False).values.clamp_max(1e12))


def detecting(network: nn.Module, detector: nn.Module) -> Classifier:
    """Return the classifier that rejects what the detector finds."""
    if not isinstance(detector, DimensionDetector):
        raise ModelError(f"the detector is a {type(detector).__name__}; give a DimensionDetector.")
    return Classifier(rejecting(network, detector), rejects=True)


class Undetected(nn.Module):
    """The logits of a network with a rejection far below them: what an attack that ignores the detector climbs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n columns"]:
        """Return logits and a rejection 1000 below the least."""
        z = self.network(x)
        return torch.cat([z, z.detach().amin(1, keepdim=True) - 1000.0], dim=1)


class ConfidentThenJoint(StagedAttack):
    """Confident misclassification first, the detector ignored; then the joint loss.

    Athalye, Carlini and Wagner (section 5.2) found that examples of high confidence pass the detector; the joint loss,
    which rises only where an input is misclassified and not rejected, finds the rest.

    Parameters
    ----------
    network
        The network without its detector.
    """

    name = "confident then joint"

    def __init__(self, network: nn.Module) -> None:
        self.confident = BorrowedGradients(network=Undetected(network), method=PGD(steps=40, loss="margin"))

    def stages(self, ball: Ball) -> tuple[Attack, ...]:
        """Return the attacks it is made of, in order."""
        return self.confident, PGD(steps=100, loss="margin"), Ensemble()


def confident_then_joint(defended: Classifier) -> Attack:
    """Return the attack on a classifier of `detecting`."""
    network, _ = defended.module.children()
    return ConfidentThenJoint(network)


DEFENCE = Defence(
    name="MLW18",
    paper="Ma et al., ICLR 2018; broken by Athalye, Carlini and Wagner, ICML 2018, section 5.2",
    does="Rejects inputs whose activations have the local intrinsic dimensionality of adversarial examples.",
    masking="none",
    base="cifar-standard",
    part="cifar-detector",
    ball="linf:8/255",
    defend=detecting,
    adaptive=confident_then_joint,
    published=5,
)
