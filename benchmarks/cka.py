"""CKA of two networks on 1,000 images: CPU seconds and memory compared with the least possible work.

The limit is one forward pass of each network and one Gram matrix of each layer (``X @ X.T``), at
the same batch size. Contenders are interleaved; one thread. ``torch_cka`` is measured if it can be
imported; it needs matplotlib and tqdm and is not a dependency of this project:

    pip install --no-deps --target FOLDER torch_cka
    PYTHONPATH=src:FOLDER python benchmarks/cka.py small
    PYTHONPATH=src:FOLDER python benchmarks/cka.py resnet18 --repetitions 1
    PYTHONPATH=src:FOLDER python benchmarks/cka.py resnet18 --repetitions 1 --images 250 --every
    PYTHONPATH=src python benchmarks/cka.py memory
"""

import argparse
import contextlib
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from epsball.similarity import Similarity, cka, layer_names

BATCH = 250


class Block(nn.Module):
    """A residual block of two convolutions; no module is used twice or in place, which torch_cka does not handle."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        plain = stride == 1 and before == width
        self.shortcut = nn.Identity() if plain else nn.Conv2d(before, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(f(x) + shortcut(x))."""
        out = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(out + self.shortcut(x))


def resnet(widths: tuple[int, ...], blocks: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    parts: list[nn.Module] = [
        nn.Conv2d(3, widths[0], 3, 1, 1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    before = widths[0]
    for stage, width in enumerate(widths):
        for i in range(blocks):
            parts.append(Block(before, width, 2 if stage and not i else 1))
            before = width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, 10)).eval()


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "small": lambda seed: resnet((16, 32, 64), 1, seed),
    "resnet20": lambda seed: resnet((16, 32, 64), 3, seed),
    "resnet18": lambda seed: resnet((64, 128, 256, 512), 2, seed),
}


def compared_layers(model: nn.Module, *, every: bool) -> list[str]:
    """Return the convolutions and the linear layer (22 in `resnet20`, 21 in `resnet18`), or every kind of layer."""
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.ReLU) if every else (nn.Conv2d, nn.Linear)
    return [name for name, part in model.named_modules() if isinstance(part, kinds)]


def forwards(a: nn.Module, b: nn.Module, x: Tensor, layers: list[str]) -> None:
    with torch.no_grad():
        for batch in x.split(BATCH):
            a(batch)
            b(batch)


def limit(a: nn.Module, b: nn.Module, x: Tensor, layers: list[str]) -> None:
    def gram(module: nn.Module, args: object, output: Tensor) -> None:
        features = output.flatten(1)
        features @ features.T

    handles = [m.get_submodule(name).register_forward_hook(gram) for m in (a, b) for name in layers]
    forwards(a, b, x, layers)
    for handle in handles:
        handle.remove()


def ours(a: nn.Module, b: nn.Module, x: Tensor, layers: list[str]) -> Similarity:
    return cka(a, b, x, layers=layers, batch_size=BATCH)


def peer(a: nn.Module, b: nn.Module, x: Tensor, layers: list[str]) -> Tensor:
    from torch_cka import CKA

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), BATCH)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        compared = CKA(a, b, "a", "b", layers, layers)
        # It ends with a bare AssertionError if rounding makes an HSIC negative; the work is done by then.
        with contextlib.suppress(AssertionError):
            compared.compare(loader)
    for model in (a, b):
        for part in model.modules():
            part._forward_hooks.clear()
    return compared.hsic_matrix


def seconds(name: str, repetitions: int, images: int, *, every: bool) -> None:
    """Print the CPU seconds of each contender and its ratio to the limit of the same repetition."""
    a, b, x = NETWORKS[name](0), NETWORKS[name](1), torch.randn(images, 3, 32, 32)
    layers = compared_layers(a, every=every)[: 22 if name == "small" else None]
    contenders = {"forwards": forwards, "limit": limit, "epsball": ours}
    try:
        import torch_cka  # noqa: F401

        contenders["torch_cka"] = peer
    except ImportError:
        print("torch_cka cannot be imported: left out")
    forwards(a, b, x[:BATCH], layers)
    spent: dict[str, list[float]] = {key: [] for key in contenders}
    values: dict[str, object] = {}
    for _ in range(repetitions):
        for key, contender in contenders.items():
            start = time.process_time()
            values[key] = contender(a, b, x, layers)
            spent[key].append(time.process_time() - start)
    print(f"{name}: {len(layers)} x {len(layers)} layers, {images} images, batch {BATCH}, {repetitions} repetitions")
    for key, times in spent.items():
        ratios = [mine / bound for mine, bound in zip(times, spent["limit"], strict=True)]
        print(
            f"  {key:10s} {statistics.median(times):8.2f} CPU s   "
            f"{statistics.median(ratios):6.2f} of the limit ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    mine, other = values["epsball"], values.get("torch_cka")
    if isinstance(mine, Similarity) and isinstance(other, Tensor):
        difference = (mine.matrix - other).abs()
        print(f"  torch_cka: {int(other.isnan().sum())} NaN; else |difference| <= {difference.nan_to_num().max():.1e}")


def peak(contender: str) -> None:
    """Print the peak of resident memory of one contender on 51 layers, in MiB."""
    a, b, x = NETWORKS["resnet18"](0), NETWORKS["resnet18"](1), torch.rand(1000, 3, 32, 32)
    layers = layer_names(a, x)[:51]
    {"forwards": forwards, "epsball": ours}[contender](a, b, x, layers)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory() -> None:
    """Print how far the peak with 51 x 51 layers is above that of the forward passes alone."""
    peaks = {}
    for contender in ("forwards", "epsball"):
        command = [sys.executable, __file__, "peak", "--contender", contender]
        runs = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(3)]
        peaks[contender] = statistics.median(runs)
        print(f"  {contender:10s} {peaks[contender]:8.1f} MiB at the peak")
    print(f"  beyond the forward passes: {peaks['epsball'] - peaks['forwards']:.1f} MiB (51 x 51 layers)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*NETWORKS, "memory", "peak"])
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--every", action="store_true", help="every convolution, batch norm, ReLU and linear layer")
    parser.add_argument("--contender", default="epsball")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "memory":
        memory()
    elif options.what == "peak":
        peak(options.contender)
    else:
        every = options.every or options.what == "small"
        seconds(options.what, options.repetitions, options.images, every=every)


if __name__ == "__main__":
    main()
