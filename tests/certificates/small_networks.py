"""Random small networks in layers: z_k affine in the inputs and in all a_i = relu(z_i) before, logits the last z."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

Values = Sequence[Tensor]


class SmallNetwork(nn.Module):
    """A network whose k-th layer is `affine(k, values)`, with the values (x, a_1, ..., a_{k-1}) in their shapes."""

    count: int
    shape: tuple[int, ...]

    def affine(self, number: int, values: Values) -> Tensor:
        """Return z of a layer."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for number in range(self.count - 1):
            values.append(torch.relu(self.affine(number, values)))
        return self.affine(self.count - 1, values)

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Return by layer the matrix over all values before, flattened, and the constant: the weights themselves.

        An entry of the matrix is what a unit at one place gives without biases. It is one weight, so that nothing is
        rounded.
        """
        found, shapes = [], [self.shape]
        for number in range(self.count):
            zero = [torch.zeros(1, *shape, dtype=torch.float64) for shape in shapes]
            constant = self.double().affine(number, zero)
            columns = []
            for at, value in enumerate(zero):
                units = torch.eye(value.numel(), dtype=torch.float64).view(-1, *value.shape[1:])
                values = [other.expand(len(units), *other.shape[1:]) for other in zero]
                values[at] = units
                columns.append(self._without_bias(partial(self.affine, number, values)).flatten(1).T)
            found.append((torch.cat(columns, dim=1), constant.flatten()))
            shapes.append(tuple(constant.shape[1:]))
        self.float()
        return found

    def _without_bias(self, compute: Callable[[], Tensor]) -> Tensor:
        biases = {name: value for name, value in self.named_parameters() if name.endswith("bias")}
        kept = {name: value.data for name, value in biases.items()}
        try:
            for value in biases.values():
                value.data = torch.zeros_like(value.data)
            return compute()
        finally:
            for name, value in biases.items():
                value.data = kept[name]


class Dense(SmallNetwork):
    """Linear layers, one after the other."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.shape, self.count = (widths[0],), len(widths) - 1
        self.parts = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))

    def affine(self, number: int, values: Values) -> Tensor:
        return self.parts[number](values[-1])


class Convolutional(SmallNetwork):
    """Two convolutions with padding or stride, and a linear layer."""

    def __init__(self, side: tuple[int, int], channels: int, classes: int) -> None:
        super().__init__()
        self.shape, self.count = (1, *side), 3
        first = nn.Conv2d(1, channels, (1, 2) if side[0] == 1 else 2)
        width = channels * (side[0] - (side[0] > 1)) * (side[1] - 1)
        second = nn.Conv2d(channels, 1, (1, 3) if side[0] == 1 else 3, padding=(0, 1) if side[0] == 1 else 1)
        self.parts = nn.ModuleList([first, second, nn.Linear(width // channels, classes)])

    def affine(self, number: int, values: Values) -> Tensor:
        return self.parts[number](values[-1] if number < 2 else values[-1].flatten(1))


class Residual(SmallNetwork):
    """A stem, a block that adds what it was given before it rectifies, one that adds it after, and a linear layer."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.shape, self.count = (inputs,), 4
        widths = ((inputs, width), (width, 2), (2, width), (width, classes))
        self.parts = nn.ModuleList(nn.Linear(*pair) for pair in widths)

    def affine(self, number: int, values: Values) -> Tensor:
        found = self.parts[number](values[-1] if number < 3 else values[1] + values[3])
        return found + values[1] if number == 2 else found


def small_network(seed: int) -> SmallNetwork:
    """Return a dense, convolutional or residual network, normal weights."""
    torch.manual_seed(seed)
    classes = 2 + seed // 3 % 2
    match seed % 3:
        case 0:
            widths = ((2, 6, 4), (3, 5, 4), (4, 8), (2, 3, 3, 3), (3, 6, 3))[seed // 3 % 5]
            network = Dense((*widths, classes))
        case 1:
            network = Convolutional(((1, 4), (2, 2), (2, 3))[seed // 3 % 3], 2, classes)
        case _:
            network = Residual(2 + seed // 3 % 2, 4, classes)
    for name, value in network.named_parameters():
        nn.init.normal_(value, std=0.5 if name.endswith("bias") else 1.0)
    return network.eval().requires_grad_(False)
