"""The whole curve of two MNIST classes against the bare float32 product of the same distances.

    python benchmarks/limits/curve.py FOLDER_OF_MNIST [--repeat 5]

Prints L* at every radius, process CPU seconds of the curve and of the bare blocked product (one
thread, compilation excluded, interleaved), their ratio, and the peak memory of the curve. The ten
thousand a side are digits 0-4 against 5-9 (two made-up classes), since no digit has ten thousand.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from epsball.data import load
from epsball.limits import optimal_risk

SPARSE = (1, 2, 2.5, 3)
DENSE = (2, 2.5, 3, 3.5, 4, 4.5, 5)


def mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    data = load(f"idx:{folder},split=train")
    x, y = data[:]
    x, y = x.numpy(), y.numpy()
    return x.reshape(len(x), -1), y.astype(np.int64)


def problem(name: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y = mnist(folder)
    if name == "3v7":
        rows = np.concatenate([np.flatnonzero(y == digit)[:5000] for digit in (3, 7)])
        return x[rows], y[rows]
    halves = y >= 5
    rows = np.concatenate([np.flatnonzero(halves == side)[:10000] for side in (False, True)])
    return x[rows], halves[rows].astype(np.int64)


def bare_products(x: np.ndarray, y: np.ndarray) -> float:
    first, second = np.unique(y)
    a, b = x[y == first].astype(np.float32), x[y == second].astype(np.float32)
    room = np.empty((512, 4096), dtype=np.float32)
    start = time.process_time()
    for low in range(0, len(a), 512):
        for left in range(0, len(b), 4096):
            rows, columns = a[low : low + 512], b[left : left + 4096]
            np.matmul(rows, columns.T, out=room.ravel()[: len(rows) * len(columns)].reshape(len(rows), len(columns)))
    return time.process_time() - start


def measure(name: str, radii: tuple[float, ...], folder: Path, repeat: int) -> None:
    x, y = problem(name, folder)
    optimal_risk(x[::50], y[::50], radii=radii)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ratios, result = [], None
    for _ in range(repeat):
        start = time.process_time()
        result = optimal_risk(x, y, radii=radii)
        spent = time.process_time() - start
        if not ratios:
            peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024
        bare = bare_products(x, y)
        ratios.append((spent / bare, spent, bare))
    ratio, spent, bare = sorted(ratios)[len(ratios) // 2]
    print(
        f"{name}, {len(x)} examples, {result.curve[-1].conflicts} conflicts: curve {spent:.2f} s, "
        f"bare products {bare:.2f} s, "
        f"ratio {ratio:.2f} ({min(ratios)[0]:.2f}..{max(ratios)[0]:.2f}), memory +{peak:.0f} MiB"
    )
    print("  " + ", ".join(f"{float(limit.radius):g}: {limit.risk.value:.4f}" for limit in result.curve))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--one", nargs=2, metavar=("PROBLEM", "GRID"))
    options = parser.parse_args()
    if options.one:
        name, grid = options.one
        measure(name, SPARSE if grid == "sparse" else DENSE, options.folder, options.repeat)
        return
    # One process a problem: peak memory only ever rises.
    for name in ("3v7", "halves"):
        for grid in ("sparse", "dense"):
            command = [sys.executable, __file__, str(options.folder), "--repeat", str(options.repeat)]
            subprocess.run([*command, "--one", name, grid], check=True)


if __name__ == "__main__":
    main()
