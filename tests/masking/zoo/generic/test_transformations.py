"""Input transformations against their definitions."""

import pytest
import torch

from epsball import InputError
from epsball.masking.zoo.generic.jpeg import JPEG, LUMINANCE, cosine_transform, quantisation_table
from epsball.masking.zoo.generic.noise import Noise
from epsball.masking.zoo.generic.random_resizing import RandomResizing
from epsball.masking.zoo.generic.rounding import Rounding
from epsball.pixels import from_8bit


def test_the_cosine_transform_is_orthogonal_and_scipys():
    from scipy.fft import dctn

    D = cosine_transform().double()
    torch.testing.assert_close(D @ D.T, torch.eye(8).double(), atol=1e-6, rtol=0)
    block = torch.rand(8, 8).double()
    torch.testing.assert_close(D @ block @ D.T, torch.from_numpy(dctn(block.numpy(), norm="ortho")), atol=1e-6, rtol=0)


def test_quantisation_tables_scale_with_the_quality():
    assert torch.equal(quantisation_table(LUMINANCE, 50), torch.tensor(LUMINANCE).float())
    assert bool((quantisation_table(LUMINANCE, 100) == 1).all())
    assert bool((quantisation_table(LUMINANCE, 10) >= quantisation_table(LUMINANCE, 90)).all())


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_loses_little_at_high_quality_and_repeats_itself(channels):
    x = from_8bit(torch.randint(0, 256, (2, channels, 12, 20), generator=torch.Generator().manual_seed(0)).byte())
    smooth = torch.nn.functional.interpolate(x[:, :, :3, :5], (12, 20), mode="bilinear")
    fine, coarse = (JPEG(quality=q)(smooth) for q in (100, 5))
    assert float((fine - smooth).abs().max()) < 0.02
    assert float((coarse - smooth).abs().max()) > 0.02
    assert bool(((255 * fine - (255 * fine).round()).abs() < 1e-3).all())


def test_jpeg_agrees_with_pillow():
    import io

    import numpy as np
    from PIL import Image

    ramp = torch.linspace(0, 255, 32).round()
    grey = (ramp[:, None] * 0.5 + ramp.flip(0)[None] * 0.5).round().byte()
    buffer = io.BytesIO()
    Image.fromarray(grey.numpy()).save(buffer, "JPEG", quality=50)
    theirs = torch.from_numpy(np.array(Image.open(buffer))).float()
    ours = 255 * JPEG(quality=50)(from_8bit(grey)[None, None])[0, 0]
    # Their transform is in integers: coefficients close to a tie may be rounded to the other side.
    assert float((ours - theirs).abs().mean()) < 0.5
    assert float((ours - theirs).abs().max()) <= 4.0


def test_eight_bits_keep_pictures_as_they_are():
    x = from_8bit(torch.arange(256).byte())
    assert torch.equal(Rounding(256)(x), x)
    assert len(Rounding(5)(torch.linspace(0, 1, 100)).unique()) == 5
    with pytest.raises(InputError, match="2 levels or more"):
        Rounding(1)


def test_resizing_moves_and_keeps_the_shape():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 20, 30)
    a, b = RandomResizing(0.6)(x), RandomResizing(0.6)(x)
    assert a.shape == x.shape
    assert not torch.equal(a, b)
    torch.testing.assert_close(RandomResizing(1.0)(x), x)


def test_noise_has_its_size():
    torch.manual_seed(0)
    assert float((Noise(0.2)(torch.zeros(10_000))).std()) == pytest.approx(0.2, rel=0.05)


def test_images_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="1 or 3 channels"):
        JPEG()(torch.rand(1, 2, 8, 8))
