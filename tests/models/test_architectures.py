import pytest
import torch
from torch import nn

from epsball.errors import InputError
from epsball.models import ARCHITECTURES

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# By hand from the published layers. PreActResNet-18 and ResNet-50: the counts that users of
# github.com/kuangliu/pytorch-cifar print; WideResNet-34-10: 46.16 M in the literature on robust training.
@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        # (1*9+1)*32 + (32*9+1)*32 + (32*9+1)*64 + (64*9+1)*64 + (1024+1)*200 + (200+1)*200 + (200+1)*10
        ("small_cnn", MNIST, 312_202),
        # (1*16+1)*16 + (16*16+1)*32 + (1568+1)*100 + (100+1)*10
        ("cnn_a", MNIST, 166_406),
        ("cnn_a", CIFAR, 214_918),
        # 448 + (16*16+1)*16 + (16*16+1)*32 + (2048+1)*512 + (512+1)*10, and 2*(16+16+32+512) of batch norm
        ("cnn5", CIFAR, 1_067_002 + 1_152),
        ("cnn5", MNIST, 160 + 4_112 + 8_224 + (1_568 + 1) * 512 + 5_130 + 1_152),
        # 1,792 + 36,928 + 73,856 + 2*147,584 + (32,768+1)*512 + 5,130, and 2*(64+64+3*128+512) of batch norm
        ("cnn7", CIFAR, 17_190_602 + 2_048),
        ("cnn7", MNIST, 640 + 36_928 + 73_856 + 2 * 147_584 + (25_088 + 1) * 512 + 5_130 + 2_048),
        ("preact_resnet18", CIFAR, 11_171_146),
        ("resnet50", CIFAR, 23_520_842),
        ("wide_resnet_34_10", CIFAR, 46_160_474),
    ],
)
def test_parameter_counts_are_the_published_ones(name, shape, parameters):
    with torch.device("meta"):
        assert count(ARCHITECTURES[name](shape, 10)) == parameters


@pytest.mark.parametrize(
    ("name", "norms"), [("cnn5", 2 * (16 + 16 + 32 + 512)), ("cnn7", 2 * (64 + 64 + 3 * 128 + 512))]
)
def test_without_batch_norm_its_parameters_are_gone(name, norms):
    with torch.device("meta"):
        plain, normed = (ARCHITECTURES[name](CIFAR, 10, batch_norm=normed) for normed in (False, True))
    assert count(normed) - count(plain) == norms
    assert [type(layer) for layer in plain] == [type(layer) for layer in normed if "BatchNorm" not in str(layer)]
    assert ARCHITECTURES[name]((1, 8, 8), 3, width=2, hidden=5, batch_norm=False)(torch.rand(2, 1, 8, 8)).shape == (
        2,
        3,
    )


def test_networks_of_certified_training_refuse_empty_layers():
    with pytest.raises(InputError, match="layers of 0 filters"):
        ARCHITECTURES["cnn7"](CIFAR, 10, width=0)


def test_conv_net_is_cnn_a_by_default_and_has_the_layers_it_is_given():
    plain, published = ARCHITECTURES["conv_net"](MNIST, 10), ARCHITECTURES["cnn_a"](MNIST, 10)
    plain.load_state_dict(published.state_dict())
    x = torch.rand(2, *MNIST)
    assert torch.equal(plain(x), published(x))
    module = ARCHITECTURES["conv_net"](CIFAR, 10, widths=(4, 6, 8), hidden=5, activation="gelu", batch_norm=True)
    expected = [nn.Conv2d, nn.BatchNorm2d, nn.GELU] * 3 + [nn.Flatten, nn.Linear, nn.GELU, nn.Linear]
    assert [type(layer) for layer in module] == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"activation": "rleu"}, "Did you mean 'relu'"),
        ({"widths": ()}, "widths"),
        ({"hidden": 0}, "hidden units"),
        ({"widths": (4,) * 4}, "multiples of 16"),
    ],
)
def test_conv_net_refuses_what_it_cannot_build(options, words):
    with pytest.raises(InputError, match=words):
        ARCHITECTURES["conv_net"](MNIST, 10, **options)


def test_mlp_has_the_layers_it_is_given():
    assert count(ARCHITECTURES["mlp"]((1, 8, 8), 3, hidden=(5, 7))) == (64 + 1) * 5 + (5 + 1) * 7 + (7 + 1) * 3
    assert count(ARCHITECTURES["mlp"]((4,), 3, hidden=())) == (4 + 1) * 3


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("shape", "classes"), [((2, 16, 16), 3), ((1, 24, 20), 7)])
def test_every_architecture_takes_other_channels_sizes_and_classes(name, shape, classes):
    if name == "wide_resnet_34_10":
        with torch.device("meta"):
            module = ARCHITECTURES[name](shape, classes).eval()
    else:
        module = ARCHITECTURES[name](shape, classes).eval()
    x = torch.rand(2, *shape, device=next(module.parameters()).device)
    with torch.no_grad():
        assert module(x).shape == (2, classes)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("cnn_a", (1, 27, 28), "multiples of 4"),
        ("small_cnn", (1, 8, 8), "at least 16x16"),
        ("resnet50", (3, 4, 4), "at least 8x8"),
        ("preact_resnet18", (10,), "channels x height x width"),
        ("wide_resnet_34_10", (3, 4, 32), "at least 8x8"),
    ],
)
def test_a_shape_that_cannot_be_taken_is_named(name, shape, words):
    with pytest.raises(InputError, match=words):
        ARCHITECTURES[name](shape, 10)


def test_an_empty_layer_is_refused():
    with pytest.raises(InputError, match="at least one"):
        ARCHITECTURES["mlp"]((4,), 2, hidden=(0,))


def test_small_cnn_starts_as_published():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = ARCHITECTURES["small_cnn"](MNIST, 10)
    conv4 = module.get_submodule("feature_extractor.conv4")
    assert isinstance(conv4, nn.Conv2d)
    assert conv4.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert not module.get_parameter("classifier.fc3.weight").any()


def test_residual_networks_compute_the_published_block():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = ARCHITECTURES["preact_resnet18"](CIFAR, 10).eval()
    block, x = module.get_submodule("layer2.0"), torch.rand(1, 64, 8, 8)
    activated = torch.relu(block.get_submodule("bn1")(x))
    branch = torch.relu(block.get_submodule("bn2")(block.get_submodule("conv1")(activated)))
    expected = block.get_submodule("conv2")(branch) + block.get_submodule("shortcut")(activated)
    torch.testing.assert_close(block(x), expected)
