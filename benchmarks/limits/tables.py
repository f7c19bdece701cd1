"""The tables of docs/limits.md: optimal risk of published data sets over a grid of radii.

python benchmarks/limits/tables.py digits idx:FOLDER,split=train cifar10:FOLDER,split=test ...
"""

import sys
import time

from epsball.data import load
from epsball.limits import optimal_risk

GRIDS = {
    "digits": {"l2": ("0.6", "0.7", "0.8", "0.9", "1"), "linf": ("0.25", "0.3", "0.35", "0.4")},
    "idx": {"l2": ("0.5", "0.75", "1", "1.25", "1.5", "1.75"), "linf": ("0.1", "0.2", "0.3", "0.35", "0.4")},
    "cifar10": {"l2": ("2", "2.5", "3", "3.5", "4"), "linf": ("8/255", "16/255", "0.1", "0.15", "0.2")},
}


def main() -> None:
    for text in sys.argv[1:]:
        x, y = load(text)[:]
        kind = text.split(":")[0]
        for norm, radii in GRIDS[kind].items():
            start = time.process_time()
            result = optimal_risk(x, y, norm=norm, radii=radii)
            print(
                f"{text}, {time.process_time() - start:.1f} CPU s\n{result}\n{result.sample_curve().warning}\n",
                flush=True,
            )


if __name__ == "__main__":
    main()
