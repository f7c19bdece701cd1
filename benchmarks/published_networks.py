"""The published networks that ``published_audits.py`` audits, and what was published of them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published network, how it is audited, and what was published of it.

    Parameters
    ----------
    model, data
        Texts, in which NETS and DATA stand for the folders.
    ball
        The perturbation set.
    natural, verified, attacked
        Published shares: of right images; the largest that anybody verified, a lower end of what is robust; the least
        that stands under an attack, an upper end.
    source
        Where they were published, and on which images.
    first
        Images of the run on all of them, where it is not all.
    """

    model: str
    data: str
    ball: str
    natural: float
    verified: float | None = None
    attacked: float | None = None
    source: str
    first: int | None = None


NORMALISED = "mean=0.4914:0.4822:0.4465,std=0.2471:0.2435:0.2616"
NETWORKS = {
    "wong-kolter-mnist": Published(
        model="cnn_a@NETS/wong_kolter/mnist.pth", data="idx:DATA/mnist", ball="linf:0.1",
        natural=0.9820, verified=0.9418, attacked=0.9589,
        source="README of convex_adversarial, on all 10,000 images: its dual bound, PGD",
    ),
    "mnist-cnn-a-adv": Published(
        model="cnn_a@NETS/abcrown/mnist_cnn_a_adv.model", data="idx:DATA/mnist", ball="linf:0.3",
        natural=0.9633, verified=0.705, attacked=0.765,
        source="beta-CROWN (arXiv 2103.06624, table 2), on 200 other images: beta-CROWN, PGD",
    ),
    "resnet2b": Published(
        model=f"examples/published.py:resnet2b@NETS/abcrown/resnet2b.pth,{NORMALISED}",
        data="cifar10:DATA/cifar10", ball="linf:2/255",
        natural=0.6925, verified=0.2688, attacked=0.5482,
        source="alpha-beta-CROWN, models/cifar10_resnet/README.md, on all 10,000 images: CROWN, PGD",
    ),
    "mnist-6x100-nat": Published(
        model="mlp@NETS/abcrown/mnist_6_100_nat.pth,hidden=100:100:100:100:100", data="idx:DATA/mnist",
        ball="linf:0.026",
        natural=0.9629,
        source="counted from the published file; no robust figure is known to us",
    ),
}  # fmt: skip
