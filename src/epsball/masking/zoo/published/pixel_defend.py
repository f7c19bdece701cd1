"""SKN18: PixelDefend, images replaced by likelier ones nearby; broken by the identity in the backward pass."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsball.checks import check_positive
from epsball.classifier import Classifier
from epsball.errors import ModelError
from epsball.masking.zoo.defence import Defence
from epsball.masking.zoo.input_transformation import in_front, through
from epsball.masking.zoo.published.pixel_cnn import Decoder, PixelCNN

RADIUS = 0.15
"""epsilon_defend for digits of 17 values."""


class PixelDefend(nn.Module):
    """Replace each pixel, in raster order, by the likeliest value within a radius, given those before it.

    x'_i = argmax of p(z | x'_1, .., x'_{i-1}) over the values z with abs(z - x_i) <= radius. Nothing has a gradient.

    Parameters
    ----------
    prior
        The distribution of images.
    radius
        epsilon_defend; at least half the distance of two values.

    References
    ----------
    Song, Kim, Nowozin, Ermon and Kushman, "PixelDefend: leveraging generative models to understand and defend against
    adversarial examples", ICLR 2018, algorithm 1.

    Examples
    --------
    >>> import torch
    >>> purify = PixelDefend(PixelCNN(values=17, width=8), radius=0.1)
    >>> x = torch.rand(3, 1, 8, 8)
    >>> bool(((purify(x) - x).abs() <= 0.1 + 1e-6).all())
    True
    """

    grid: Tensor

    def __init__(self, prior: PixelCNN, radius: float = RADIUS) -> None:
        super().__init__()
        check_positive("radius", radius)
        self.prior, self.radius = prior, radius
        self.register_buffer("grid", torch.linspace(0, 1, prior.values), persistent=False)

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 1 h w"]:
        """Return the purified images."""
        n, channels, height, width = x.shape
        if channels != 1:
            raise ModelError(f"this PixelDefend is for grey images; these have {channels} channels.")
        purified = torch.empty_like(x)
        decoder = Decoder(self.prior, n, height, width)
        for i in range(height):
            for j in range(width):
                pixels = self._likeliest(decoder.logits(i, j), x[:, 0, i, j])
                decoder.set(i, j, pixels)
                purified[:, 0, i, j] = pixels
        return purified

    def _likeliest(self, logits: Float[Tensor, "n v"], pixels: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        distance = (self.grid - pixels[:, None]).abs()
        # Where no value is near enough, the nearest one; and float32 must not exclude a value at the radius.
        allowed = distance <= torch.maximum(distance.amin(1, keepdim=True), torch.tensor(self.radius + 1e-6))
        return self.grid[logits.masked_fill(~allowed, -torch.inf).argmax(1)]

    def extra_repr(self) -> str:
        """Return the radius."""
        return f"radius={self.radius:g}"


def purified(network: nn.Module, prior: nn.Module) -> Classifier:
    """Return the classifier of purified images."""
    if not isinstance(prior, PixelCNN):
        raise ModelError(f"the prior is a {type(prior).__name__}; PixelDefend needs a PixelCNN.")
    return in_front(PixelDefend(prior), network)


DEFENCE = Defence(
    name="SKN18",
    paper="Song et al., ICLR 2018; broken by Athalye, Carlini and Wagner, ICML 2018, section 5.5",
    does="Replaces each image by a likelier one within a radius, by a PixelCNN, and classifies that.",
    masking="shattered",
    base="digits-standard",
    part="digits-prior",
    ball="linf:0.2",
    defend=purified,
    adaptive=through,
    published=9,
)
