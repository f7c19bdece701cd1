"""Every registered objective, made cheap: what the contract tests run over."""

from epsball import Ball
from epsball.training import OBJECTIVES, Objective, named, resolve
from helpers import convnet

SMALL = {
    "pgd": "pgd,steps=2",
    "fgsm-rs": "fgsm-rs,every=2,steps=2",
    "free": "free,replays=2",
    "trades": "trades,steps=2",
    "mart": "mart,steps=2",
    "awp": "awp,objective=pgd,steps=2",
    "stability": "stability,sigma=0.1,weight=0.5",
    "gaussian": "gaussian,sigma=0.1,consistency=2,entropy=0.5",
    "input-gradient": "input-gradient,weight=0.1",
    "cascade": "cascade,steps=2",
    "sabr": "sabr,steps=2",
    "mtl-ibp": "mtl-ibp,steps=2",
    "wong-kolter": "wong-kolter,projections=5",
    "taps": "taps,latent=0,latent_steps=2",
    "staps": "staps,steps=2,latent=0,latent_steps=2",
}
"""The text that names an objective in the tests, where its defaults cost much."""

NAMES = list(OBJECTIVES)


def small_objective(name: str, ball: Ball) -> Objective:
    """Return a registered objective for images (n, 1, 8, 8) of ten classes."""
    ball = Ball("l2", 0.5) if name == "lipschitz" else ball
    source = convnet(seed=1, classes=10) if "source" in named(name).__dataclass_fields__ else None
    return resolve(SMALL.get(name, name), ball, source=source)
