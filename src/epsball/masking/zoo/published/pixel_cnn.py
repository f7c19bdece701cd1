"""PixelCNN, the distribution of grey images that PixelDefend decodes from, with cached decoding."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from epsball.checks import check_count


class MaskedConvolution(nn.Conv2d):
    """A convolution that sees only pixels before its own in raster order, and its own unless `strict`.

    References
    ----------
    Van den Oord, Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", ICML 2016, section 3.4 (mask A is
    the strict one, B the other).
    """

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, *, strict: bool) -> None:
        super().__init__(inputs, outputs, side, padding=side // 2)
        mask = torch.zeros(side, side)
        mask[: side // 2] = 1.0
        mask[side // 2, : side // 2 + (not strict)] = 1.0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """Return the convolution with the masked weights."""
        return functional.conv2d(input, self.weight * self.mask, self.bias, padding=self.padding)

    def rows(self) -> Float[Tensor, "d taps"]:
        """Return the weights that the mask leaves, one row per filter, in the order of `patch`."""
        return self.weight[:, :, self.mask > 0].flatten(1)

    def patch(self, padded: Float[Tensor, "n c h w"], i: int, j: int) -> Float[Tensor, "n taps"]:
        """Return what the filters see at pixel (i, j) of a map padded by half a side."""
        side = self.kernel_size[0]
        return padded[:, :, i : i + side, j : j + side][:, :, self.mask > 0].flatten(1)


class PixelCNN(nn.Module):
    """A distribution over grey images of V values, p(x) = prod_i p(x_i | x_1, .., x_{i-1}) in raster order.

    Parameters
    ----------
    values
        V: the pixels are 0, 1/(V - 1), .., 1.
    width
        Filters of each layer.
    layers
        Masked 3x3 convolutions after the first one, which is 5x5.

    References
    ----------
    Van den Oord, Kalchbrenner and Kavukcuoglu, ICML 2016.

    Examples
    --------
    >>> import torch
    >>> PixelCNN(values=17, width=8)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 17, 8, 8])
    """

    def __init__(self, values: int = 17, width: int = 32, layers: int = 3) -> None:
        super().__init__()
        check_count("values", values)
        self.values = values
        hidden = (MaskedConvolution(width, width, 3, strict=False) for _ in range(layers))
        self.convolutions = nn.ModuleList([MaskedConvolution(1, width, 5, strict=True), *hidden])
        self.head = nn.Conv2d(width, values, 1)

    def forward(self, x: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n v h w"]:
        """Return the logits of each pixel's values given the pixels before it."""
        first, *others = self.convolutions
        h = torch.relu(first(x))
        for convolution in others:
            h = h + torch.relu(convolution(h))
        return self.head(h)

    def log_likelihood(self, x: Float[Tensor, "n 1 h w"]) -> Float[Tensor, " n"]:
        """Return log p of images of the V values, in nats."""
        return -functional.cross_entropy(self(x), self.index(x), reduction="none").flatten(1).sum(1)

    def index(self, x: Float[Tensor, "n 1 h w"]) -> Int64[Tensor, "n h w"]:
        """Return the nearest value's number for each pixel."""
        return (x[:, 0] * (self.values - 1)).round().long()


@dataclass
class Decoder:
    """The state of decoding a batch pixel by pixel: each layer's map so far, so that a pixel is computed once.

    What a pixel's logits depend on is final when it is reached, so all of decoding costs the multiplications of one
    forward pass.

    Parameters
    ----------
    prior
        The distribution.
    n, height, width
        Number and size of the images.
    """

    prior: PixelCNN
    n: int
    height: int
    width: int

    def __post_init__(self) -> None:
        self._layers = [layer for layer in self.prior.convolutions if isinstance(layer, MaskedConvolution)]
        self._weights = [(layer.rows(), layer.bias) for layer in self._layers]
        head = self.prior.head
        self._head = head.weight.flatten(1), head.bias
        self._maps = [self._empty(layer) for layer in self._layers]

    def _empty(self, layer: MaskedConvolution) -> Tensor:
        half = layer.kernel_size[0] // 2
        shape = self.n, layer.in_channels, self.height + 2 * half, self.width + 2 * half
        return layer.weight.new_zeros(shape)

    def logits(self, i: int, j: int) -> Float[Tensor, "n v"]:
        """Return the logits of pixel (i, j); those before it must have been set."""
        h = None
        for number, (layer, (weight, bias)) in enumerate(zip(self._layers, self._weights, strict=True)):
            if h is not None:
                half = layer.kernel_size[0] // 2
                self._maps[number][:, :, i + half, j + half] = h
            fresh = torch.relu(functional.linear(layer.patch(self._maps[number], i, j), weight, bias))
            h = fresh if h is None else h + fresh
        return functional.linear(torch.as_tensor(h), *self._head)

    def set(self, i: int, j: int, pixels: Float[Tensor, " n"]) -> None:
        """Fix pixel (i, j) of each image."""
        half = self._layers[0].kernel_size[0] // 2
        self._maps[0][:, 0, i + half, j + half] = pixels
