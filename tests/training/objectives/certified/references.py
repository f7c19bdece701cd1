"""The published formulas of certified training, written out for one small network."""

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE, HIDDEN, CLASSES = 64, 12, 5


def network(seed: int = 0, *, batch_norm: bool = True) -> nn.Sequential:
    """Return a network of two hidden layers in float64: linear, batch norm, ReLU, linear, ReLU, linear."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        norm = nn.BatchNorm1d(HIDDEN) if batch_norm else nn.Identity()
        layers = [nn.Flatten(), nn.Linear(SIZE, HIDDEN), norm, nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
        module = nn.Sequential(*layers, nn.Linear(HIDDEN, CLASSES)).double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.2 * torch.rand_like(parameter)
        return module


def batch(n: int = 7, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Return pixels (n, 1, 8, 8) and labels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 8, 8, generator=generator).double(), torch.randint(CLASSES, (n,), generator=generator)


def box(x: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Return the ends of N(x) for linf in [0, 1]."""
    return (x - radius).clamp(min=0), (x + radius).clamp(max=1)


def through(layer: nn.Linear, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return W+ l + W- u + b and W+ u + W- l + b."""
    positive, negative = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
    return (
        low @ positive.T + high @ negative.T + layer.bias,
        high @ positive.T + low @ negative.T + layer.bias,
    )


def normalised(module: nn.Sequential, x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box behind the batch norm, with the statistics of the clean batch x."""
    norm = module[2]
    if isinstance(norm, nn.Identity):
        return low, high
    clean = module[1](x.flatten(1))
    mean, variance = clean.mean(0), clean.var(0, unbiased=False)
    scale = norm.weight / (variance + norm.eps).sqrt()
    a, b = ((end - mean) * scale + norm.bias for end in (low, high))
    return torch.minimum(a, b), torch.maximum(a, b)


def pre_activations(module: nn.Sequential, x: Tensor, low: Tensor, high: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return intervals at the inputs of both ReLUs."""
    first = normalised(module, x, *through(module[1], low.flatten(1), high.flatten(1)))
    return [first, through(module[4], *(end.clamp(min=0) for end in first))]


def differences(y: Tensor) -> Tensor:
    """Return rows e_y - e_j for every class j, (n, classes, classes); that of y is 0."""
    every = torch.eye(CLASSES, dtype=torch.float64)
    return every[y][:, None] - every


def interval_margins(module: nn.Sequential, x: Tensor, y: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return lower bounds of z_y - z_j by class j, the last layer folded with the differences."""
    _, (low, high) = pre_activations(module, x, low, high)
    low, high = low.clamp(min=0), high.clamp(min=0)
    weight, bias = differences(y) @ module[6].weight, differences(y) @ module[6].bias
    return (weight.clamp(min=0) @ low[:, :, None] + weight.clamp(max=0) @ high[:, :, None])[..., 0] + bias


def backward_bound(module: nn.Sequential, x: Tensor, rows: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return lower bounds of rows (n, r, classes) of the logits by one backward sweep over intervals, (n, r)."""
    intervals = pre_activations(module, x, low, high)
    a, constant = rows @ module[6].weight, rows @ module[6].bias
    for layer, (least, most) in ((module[4], intervals[1]), (module[1], intervals[0])):
        crossing = (least < 0) & (most > 0)
        upper = torch.where(crossing, most / torch.where(crossing, most - least, 1.0), (least >= 0).double())
        lower = torch.where(crossing, (most > -least).double(), (least >= 0).double())
        shift = torch.where(crossing, -upper * least, torch.zeros_like(least))
        constant = constant + (a.clamp(max=0) * shift[:, None]).sum(2)
        a = a.clamp(min=0) * lower[:, None] + a.clamp(max=0) * upper[:, None]
        if layer is module[1] and not isinstance(module[2], nn.Identity):
            clean = layer(x.flatten(1))
            scale = module[2].weight / (clean.var(0, unbiased=False) + module[2].eps).sqrt()
            constant = constant + a @ (module[2].bias - scale * clean.mean(0))
            a = a * scale
        constant = constant + a @ layer.bias
        a = a @ layer.weight
    low, high = low.flatten(1)[:, :, None], high.flatten(1)[:, :, None]
    return constant + (a.clamp(min=0) @ low + a.clamp(max=0) @ high)[..., 0]


def worst_case(margins: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of the logits -m_j, 0 at y."""
    return functional.cross_entropy(-margins.scatter(1, y[:, None], 0.0), y, reduction="none")


def dual_objective(
    weights: list[Tensor], biases: list[Tensor], boxes: list, c: Tensor, ends, x=None, radius=None
) -> Tensor:
    """Return Wong and Kolter's J(g(c)), a lower bound of c . z, for rows c (n, r, out), by theorem 1.

    nu_k = -c; nu^_i = W_i^T nu_{i+1}; nu_i = d_i nu^_i; J = -sum b_i . nu_{i+1} - x . nu^_1 - eps ||nu^_1|| +
    sum_{i, j in I} l_ij max(nu_ij, 0), with the ends of the box in place of x and eps where it is cut, in linf.
    """
    nu = -c
    value = torch.zeros(())
    for i in range(len(weights) - 1, -1, -1):
        value = value - nu @ biases[i]
        nu = nu @ weights[i]
        if i:
            least, most = boxes[i - 1]
            crossing = (least < 0) & (most > 0)
            d = torch.where(crossing, most / torch.where(crossing, most - least, 1.0), (least >= 0).to(least.dtype))
            nu = d[:, None] * nu
            value = value + (torch.where(crossing, least, 0.0)[:, None] * nu.clamp(min=0)).sum(2)
    if radius is not None:
        return value - (nu @ x.flatten(1)[:, :, None])[..., 0] - radius * nu.norm(dim=2)
    low, high = (end.flatten(1)[:, :, None] for end in ends)
    return value - (nu.clamp(min=0) @ high + nu.clamp(max=0) @ low)[..., 0]


def dual_boxes(module: nn.Sequential, ends, x=None, radius=None) -> list[tuple[Tensor, Tensor]]:
    """Return the dual network's bounds of what both rectifiers of `network(batch_norm=False)` take."""
    layers, boxes = [module[1], module[4]], []
    for depth in (1, 2):
        weights, biases = [layer.weight for layer in layers[:depth]], [layer.bias for layer in layers[:depth]]
        rows = torch.eye(HIDDEN, dtype=torch.float64)[None]
        boxes.append(
            tuple(sign * dual_objective(weights, biases, boxes, sign * rows, ends, x, radius) for sign in (1.0, -1.0))
        )
    return boxes


def dual_margins(module: nn.Sequential, y: Tensor, boxes: list, ends, x=None, radius=None) -> Tensor:
    """Return the dual network's bounds of z_y - z_j by class j."""
    layers = [module[1], module[4], module[6]]
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    return dual_objective(weights, biases, boxes, differences(y), ends, x, radius)
