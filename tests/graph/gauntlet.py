"""Small networks, one per operation or attribute, on which capture and all certificates are tested.

`GAUNTLET` maps a name to (builder, shape of one input). Builders fix the weights; the networks
are in evaluation mode and take inputs in [0, 1].
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

VECTOR, SEQUENCE, LONG, IMAGE = (6,), (4, 8), (2, 12), (2, 6, 6)


class Function(nn.Module):
    """A network that is a function of its layers and x."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(*self.layers, x)


class WithParameters(nn.Module):
    """A network that is a function of x, of its parameters and of a buffer."""

    def __init__(self, function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.tensors = nn.ParameterList([torch.randn(shape) for shape in shapes])
        self.register_buffer("shift", torch.randn(shapes[0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.tensors, self.shift)


def _between(*middle: nn.Module, shape: tuple[int, ...] = VECTOR) -> Callable[[], nn.Module]:
    """Return a builder of: affine layer, the layers, flatten, and a linear layer to 3 logits."""

    def build() -> nn.Module:
        first = nn.Conv2d(2, 4, 3, padding=1) if shape == IMAGE else nn.Linear(shape[-1], 8)
        body = nn.Sequential(first, *middle, nn.Flatten())
        width = body.eval()(torch.rand(2, *shape)).shape[1]
        return nn.Sequential(*body, nn.Linear(width, 3))

    return build


def _direct(*layers: nn.Module, shape: tuple[int, ...] = IMAGE) -> Callable[[], nn.Module]:
    """Return a builder of: the layers, relu, flatten, and a linear layer to 3 logits."""

    def build() -> nn.Module:
        body = nn.Sequential(*layers, nn.ReLU(), nn.Flatten())
        width = body.eval()(torch.rand(2, *shape)).shape[1]
        return nn.Sequential(*body, nn.Linear(width, 3))

    return build


def _function(function: Callable[..., Tensor], *layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: Function(function, *layers)


def _seeded(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a builder whose weights, scales and statistics are fixed and not trivial."""

    def seeded() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = build().eval()
            for part in module.modules():
                for name, tensor in (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)):
                    if name in ("weight", "slope") and tensor.ndim == 1:
                        tensor.data.uniform_(0.5, 1.5)
                    elif name.endswith("bias") or name == "running_mean":
                        tensor.data.normal_(0, 0.3)
                    elif name == "running_var":
                        tensor.data.uniform_(0.5, 2)
                    elif tensor.is_floating_point() and tensor.ndim > 1:
                        fan = tensor[0].numel()
                        tensor.data.normal_(0, fan**-0.5)
        return module

    return seeded


def _attention(x: Tensor) -> Tensor:
    scores = (x @ x.transpose(1, 2)) / 8**0.5
    return (scores.softmax(-1) @ x).mean(1)


def _inline(layer: nn.Module, x: Tensor) -> Tensor:
    mean = torch.tensor([0.4, 0.5]).view(1, 2, 1, 1)
    return layer((x - mean) / torch.tensor([0.2, 0.3]).view(1, 2, 1, 1))


def _branches(a: nn.Module, b: nn.Module, c: nn.Module, x: Tensor) -> Tensor:
    return c(torch.cat([functional.relu(a(x)), torch.tanh(b(x))], dim=1).flatten(1))


def _positions(layer: nn.Module, table: nn.Module, x: Tensor) -> Tensor:
    return layer(functional.relu(x + table(torch.arange(x.shape[1]))).mean(1))


def _class_token(x: Tensor, token: Tensor, weight: Tensor, _: Tensor) -> Tensor:
    joined = torch.cat([token.expand(x.shape[0], -1, -1), x], dim=1)
    return functional.relu(joined[:, 0] + joined[:, 1:].sum(1)) @ weight


def _patches(layer: nn.Module, x: Tensor) -> Tensor:
    parts = x.reshape(x.shape[0], 2, 2, 3, 2, 3).permute(0, 2, 4, 1, 3, 5).reshape(x.shape[0] * 4, 18)
    return layer(parts).relu().view(-1, 4, 3).amax(1)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "leaky_relu_negative": lambda: nn.LeakyReLU(-0.2),
    "prelu": nn.PReLU,
    "prelu_channels": lambda: nn.PReLU(8),
    "relu6": nn.ReLU6,
    "hardtanh": lambda: nn.Hardtanh(-0.3, 0.6),
    "hardswish": nn.Hardswish,
    "hardsigmoid": nn.Hardsigmoid,
    "elu": lambda: nn.ELU(0.7),
    "selu": nn.SELU,
    "celu": lambda: nn.CELU(0.5),
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": lambda: nn.Softplus(2.0),
    "softsign": nn.Softsign,
    "softshrink": lambda: nn.Softshrink(0.2),
    "log_sigmoid": nn.LogSigmoid,
    "rrelu": nn.RReLU,
    "glu": nn.GLU,
    "softmax": lambda: nn.Softmax(1),
    "log_softmax": lambda: nn.LogSoftmax(1),
    "dropout": nn.Dropout,
    "relu_inplace": lambda: nn.ReLU(inplace=True),
    "layer_norm": lambda: nn.LayerNorm(8),
    "rms_norm": lambda: nn.RMSNorm(8, eps=1e-5),
    "batch_norm_1d": lambda: nn.BatchNorm1d(8),
}

_SCALARS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-0.2, 0.5),
    "clamp_below": lambda x: x.clamp(min=0.1),
    "square": torch.square,
    "power": lambda x: x**3,
    "exp": torch.exp,
    "log": lambda x: torch.log(1 + x.abs()),
    "sqrt": lambda x: torch.sqrt(1 + x.square()),
    "reciprocal": lambda x: 1 / (2 + x.square()),
    "rsqrt": lambda x: torch.rsqrt(1 + x.square()),
    "product": lambda x: x[:, :4] * x[:, 4:],
    "division": lambda x: x[:, :4] / (1 + x[:, 4:].square()),
    "self_product": lambda x: x * torch.sigmoid(x),
    "maximum": lambda x: torch.maximum(x[:, :4], x[:, 4:]),
    "minimum": lambda x: torch.minimum(x[:, :4], x[:, 4:]),
    "affine_constants": lambda x: 2 * x - 0.3 + x / 4,
    "sum": lambda x: x.view(-1, 2, 4).sum(2),
    "mean": lambda x: x.view(-1, 2, 4).mean(1, keepdim=True),
    "maximum_of_axis": lambda x: x.view(-1, 2, 4).amax(2),
    "max_of_axis": lambda x: x.view(-1, 2, 4).max(1).values,
    "minimum_of_axis": lambda x: x.view(-1, 2, 4).amin(2),
    "log_sum_exp": lambda x: x.view(-1, 2, 4).logsumexp(2),
    "variance": lambda x: x.view(-1, 2, 4).var(2),
    "normalised": lambda x: functional.normalize(x + 2, dim=1),
    "slicing": lambda x: torch.cat([x[:, 1:7:2], x[:, -1:], x[:, [3, 0]]], dim=1),
    "splitting": lambda x: sum(x.chunk(2, dim=1)) - x.split([5, 3], dim=1)[0][:, :4],
    "stacking": lambda x: torch.stack([x[:, :4], x[:, 4:]], dim=2).transpose(1, 2),
    "flipping": lambda x: x.flip(1).roll(3, 1),
    "where": lambda x: torch.where((x > 0.1) & ~(x >= 0.6), x, 0.5 - x),
    "compared": lambda x: (x <= x.flip(1)).to(x.dtype) * x + (x < 0).float() - (x == 0).float() * (x != x),
    "masked_by_values": lambda x: _mask(x) + functional.hardshrink(x) + functional.threshold(x, 0.1, 0.3),
    "lerp": lambda x: torch.lerp(x, x.flip(1), 0.3) + torch.lerp(x, -x, 0.9),
    "nan_to_num": lambda x: (x / (1 + x.abs())).nan_to_num(),
    "written_strided": lambda x: _write_strided(x),
    "scattered": lambda x: x.scatter(1, torch.tensor([[0, 3, 5]]).expand(len(x), 3), x[:, :3] + 1),
    "where_constant": lambda x: torch.where(torch.arange(8) % 3 == 0, x, 2 * x),
    "masked_fill": lambda x: x.masked_fill(torch.arange(8) > 5, 0.0),
    "padding": lambda x: functional.pad(x, (1, 2), value=0.5),
    "written_in_place": lambda x: _write(x),
}


def _write(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 2:4] = 0.25
    x += 1
    return x


_IMAGES: dict[str, Callable[[], tuple[nn.Module, ...]]] = {
    "max_pool_of_padded": lambda: (
        Function(lambda x: functional.max_pool2d(functional.pad(x, (0, 1, 1, 0), value=-torch.inf), 3, 2)),
    ),
    "conv2d": lambda: (nn.Conv2d(2, 3, 3),),
    "conv2d_stride": lambda: (nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), bias=False),),
    "conv2d_groups": lambda: (nn.Conv2d(2, 4, 3, groups=2),),
    "conv2d_dilation": lambda: (nn.Conv2d(2, 3, 2, dilation=2),),
    "conv2d_same": lambda: (nn.Conv2d(2, 3, 3, padding="same"),),
    "conv2d_reflect": lambda: (nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),),
    "conv2d_replicate": lambda: (nn.Conv2d(2, 3, 3, padding=1, padding_mode="replicate"),),
    "conv2d_circular": lambda: (nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),),
    "conv_transpose2d": lambda: (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),),
    "conv_transpose2d_groups": lambda: (nn.ConvTranspose2d(2, 4, 2, groups=2, dilation=2),),
    "batch_norm": lambda: (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)),
    "batch_norm_plain": lambda: (nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, affine=False)),
    "group_norm": lambda: (nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4)),
    "instance_norm": lambda: (nn.Conv2d(2, 3, 3), nn.InstanceNorm2d(3, affine=True)),
    "layer_norm_image": lambda: (nn.LayerNorm((2, 6, 6)),),
    "max_pool": lambda: (nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2)),
    "max_pool_overlap": lambda: (nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(3, 2, 1)),
    "max_pool_ceil": lambda: (nn.Conv2d(2, 3, 2), nn.MaxPool2d(2, ceil_mode=True)),
    "max_pool_dilation": lambda: (nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2, 1, dilation=2)),
    "two_max_pools": lambda: (nn.MaxPool2d(2, 1), nn.Conv2d(2, 3, 2), nn.MaxPool2d(2)),
    "average_pool": lambda: (nn.Conv2d(2, 3, 3), nn.AvgPool2d(2)),
    "average_pool_ceil": lambda: (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),),
    "average_pool_divisor": lambda: (nn.AvgPool2d(2, divisor_override=3),),
    "adaptive_average_pool": lambda: (nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d((3, 1))),
    "adaptive_max_pool": lambda: (nn.Conv2d(2, 3, 3, padding=1), nn.AdaptiveMaxPool2d((4, 3))),
    "upsample_nearest": lambda: (nn.Conv2d(2, 3, 3), nn.Upsample(scale_factor=2)),
    "upsample_bilinear": lambda: (nn.Upsample(size=(7, 9), mode="bilinear"),),
    "upsample_corners": lambda: (nn.Upsample(scale_factor=1.5, mode="bilinear", align_corners=True),),
    "pixel_shuffle": lambda: (nn.Conv2d(2, 4, 3), nn.PixelShuffle(2)),
    "constant_padding": lambda: (nn.ConstantPad2d((1, 0, -1, 2), 0.3),),
    "prelu_image": lambda: (nn.Conv2d(2, 3, 3), nn.PReLU(3)),
    "weight_norm": lambda: (nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 3)),),
}


def _sequences() -> dict[str, Callable[[], nn.Module]]:
    return {
        "conv1d": _direct(nn.Conv1d(2, 3, 3, stride=2, padding=1, dilation=2), shape=LONG),
        "conv_transpose1d": _direct(nn.ConvTranspose1d(2, 3, 3, stride=2), shape=LONG),
        "max_pool1d": _direct(nn.Conv1d(2, 3, 3), nn.MaxPool1d(3, 2, 1), shape=LONG),
        "average_pool1d": _direct(nn.Conv1d(2, 3, 3), nn.AvgPool1d(3, 2, 1), shape=LONG),
        "adaptive_pool1d": _direct(nn.Conv1d(2, 3, 3), nn.AdaptiveAvgPool1d(3), shape=LONG),
        "instance_norm1d": _direct(nn.Conv1d(2, 3, 3), nn.InstanceNorm1d(3), shape=LONG),
        "upsample_linear": _direct(nn.Upsample(scale_factor=2, mode="linear"), shape=LONG),
        "linear_on_tokens": _direct(nn.Linear(8, 5), shape=SEQUENCE),
        "attention": _function(_attention),
        "sdpa": _function(lambda x: functional.scaled_dot_product_attention(x, x, x).mean(1)),
        "multi_head_attention": _function(
            lambda attend, x: attend(x, x, x)[0].mean(1), nn.MultiheadAttention(8, 2, batch_first=True)
        ),
        "multi_head_attention_lean": _function(
            lambda attend, x: attend(x, x, x, need_weights=False)[0].mean(1),
            nn.MultiheadAttention(8, 2, batch_first=True),
        ),
        "encoder_layer": _function(
            lambda layer, x: layer(x).mean(1), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1)
        ),
        "positions": _function(_positions, nn.Linear(8, 3), nn.Embedding(4, 8)),
        "class_token": lambda: WithParameters(_class_token, (1, 1, 8), (8, 3)),
    }


def _others() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]:
    return {
        "inline_normalisation": (
            _function(_inline, nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))),
            IMAGE,
        ),
        "residual": (
            _function(lambda a, b, c, x: c((x + b(a(x).relu())).flatten(1)), *_residual(), nn.Linear(72, 3)),
            IMAGE,
        ),
        "branches": (_function(_branches, nn.Conv2d(2, 2, 3), nn.Conv2d(2, 3, 3), nn.Linear(80, 3)), IMAGE),
        "patches": (_function(_patches, nn.Linear(18, 3)), IMAGE),
        "parameter_product": (
            lambda: WithParameters(lambda x, a, w, b: functional.relu(x * a + b) @ w, VECTOR, (6, 3)),
            VECTOR,
        ),
        "addmm": (
            lambda: WithParameters(lambda x, w, b, _: torch.addmm(b, x, w).relu(), (6, 3), (3,)),
            VECTOR,
        ),
        "channels_last_input": (
            _function(lambda f, x: f(x.permute(0, 3, 1, 2)), nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten())),
            (4, 4, 2),
        ),
    }


def _residual() -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)


def _after(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: _between(Function(function))()


def _mask(x: Tensor) -> Tensor:
    x = x.clone()
    x[x < 0.2] = -0.1
    return x.masked_fill(x > 0.9, 1.0)


def _write_strided(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, 1:7:3] = x[:, ::4] * 2
    x[:, [0, 2]] = 0.5
    return x


GAUNTLET: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (_seeded(lambda: nn.Linear(6, 3)), VECTOR),
    "linear_no_bias": (_seeded(lambda: nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3))), VECTOR),
    **{name: (_seeded(lambda make=make: _between(make())()), VECTOR) for name, make in _ACTIVATIONS.items()},
    **{name: (_seeded(_after(function)), VECTOR) for name, function in _SCALARS.items()},
    **{name: (_seeded(lambda make=make: _direct(*make())()), IMAGE) for name, make in _IMAGES.items()},
    **{
        name: (_seeded(build), LONG if "1d" in name or name == "upsample_linear" else SEQUENCE)
        for name, build in _sequences().items()
    },
    **{name: (_seeded(build), shape) for name, (build, shape) in _others().items()},
}
