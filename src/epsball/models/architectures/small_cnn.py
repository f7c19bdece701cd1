"""The MNIST network of TRADES."""

from collections import OrderedDict

from jaxtyping import Float
from torch import Tensor, nn

from epsball.models.architectures.image_shape import image_shape


def small_cnn(shape: tuple[int, ...], classes: int, dropout: float = 0.5) -> nn.Module:
    """Return four 3x3 convolutions (32, 32, 64, 64 filters), a max-pool after each pair, three linear layers.

    For MNIST 312,202 parameters. Names of layers and initial values (He's normal ones in the
    convolutions, zeros in the last layer) are the published ones.

    Parameters
    ----------
    shape
        (channels, height, width), sides at least 16.
    classes
        Number of logits.
    dropout
        Rate of the dropout between the linear layers.

    References
    ----------
    Zhang et al., Theoretically principled trade-off between robustness and accuracy, ICML
    2019, arXiv:1901.08573; github.com/yaodongyu/TRADES, models/small_cnn.py.
    """
    channels, height, width = image_shape("small_cnn", shape, least=16)
    return SmallCNN(channels, _side(height) * _side(width), classes, dropout)


def _side(length: int) -> int:
    """Side of the last feature map: two unpadded 3x3 convolutions and a halving, twice."""
    return ((length - 4) // 2 - 4) // 2


class SmallCNN(nn.Module):
    """See `small_cnn`."""

    def __init__(self, channels: int, positions: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(channels, 32, 3),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(32, 32, 3),
                relu2=nn.ReLU(),
                maxpool1=nn.MaxPool2d(2),
                conv3=nn.Conv2d(32, 64, 3),
                relu3=nn.ReLU(),
                conv4=nn.Conv2d(64, 64, 3),
                relu4=nn.ReLU(),
                maxpool2=nn.MaxPool2d(2),
            )
        )
        output = nn.Linear(200, classes)
        self.classifier = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(64 * positions, 200),
                relu1=nn.ReLU(),
                drop=nn.Dropout(dropout),
                fc2=nn.Linear(200, 200),
                relu2=nn.ReLU(),
                fc3=output,
            )
        )
        for layer in self.feature_extractor:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.get_parameter("bias"))
        nn.init.zeros_(output.weight)
        nn.init.zeros_(output.bias)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Return the logits."""
        return self.classifier(self.feature_extractor(x).flatten(1))
