"""The reference architectures by name. Adding one is one file and one line here.

A builder is called with the keywords it names: `shape` (channels, height, width), `classes`
and its own options, whose texts are read by their annotations.
"""

from collections.abc import Callable

from torch import nn

from epsball.models.architectures.cnn5 import cnn5 as cnn5
from epsball.models.architectures.cnn7 import cnn7 as cnn7
from epsball.models.architectures.cnn_a import cnn_a as cnn_a
from epsball.models.architectures.conv_net import conv_net as conv_net
from epsball.models.architectures.lipschitz_cnn import lipschitz_cnn as lipschitz_cnn
from epsball.models.architectures.mlp import mlp as mlp
from epsball.models.architectures.preact_resnet18 import preact_resnet18 as preact_resnet18
from epsball.models.architectures.resnet50 import resnet50 as resnet50
from epsball.models.architectures.small_cnn import small_cnn as small_cnn
from epsball.models.architectures.wide_resnet_34_10 import wide_resnet_34_10 as wide_resnet_34_10

_BUILDERS = (mlp, small_cnn, cnn_a, cnn5, cnn7, preact_resnet18, resnet50, wide_resnet_34_10, lipschitz_cnn, conv_net)
ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {builder.__name__: builder for builder in _BUILDERS}
