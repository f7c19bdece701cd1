from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from epsball.data import folder, load
from epsball.errors import InputError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)


def save(file: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file)


@pytest.fixture
def rgb_folder(tmp_path: Path) -> Path:
    for i, pixels in enumerate(RGB):
        save(tmp_path / "data" / ("cat", "dog")[i % 2] / f"{i}.png", pixels)
    return tmp_path / "data"


def test_pictures_are_read_by_class_and_name(rgb_folder: Path) -> None:
    for junk in ("cat/notes.txt", "dog/.hidden.png", "README.md"):
        (rgb_folder / junk).write_text("not a picture")
    (rgb_folder / ".cache").mkdir()
    data = load(f"folder:{rgb_folder}")
    x, y = data[:]
    assert torch.equal(x, torch.from_numpy(RGB[[0, 2, 4, 1, 3, 5]]).permute(0, 3, 1, 2))
    assert (y.tolist(), data.class_names, data.classes) == ([0, 0, 0, 1, 1, 1], ("cat", "dog"), 2)
    assert (data.shape, data.split, data.name) == ((3, 5, 4), None, f"folder:{rgb_folder}")
    assert torch.equal(data.take([5, 1])[0], x[[5, 1]])


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "pgm", "tif", "webp"])
def test_grey_pictures_have_one_channel(suffix: str, tmp_path: Path) -> None:
    grey = suffix != "webp"
    pixels = GREY[0] if grey else RGB[0]
    tmp_path.joinpath("a").mkdir()
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a" / f"1.{suffix}", **({} if grey else {"lossless": True}))
    x, _ = load(f"folder:{tmp_path}")[:]
    expected = torch.from_numpy(pixels)
    assert torch.equal(x[0], expected[None] if grey else expected.permute(2, 0, 1))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_pictures_are_rounded_once(suffix: str, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 65536, (5, 4), dtype=np.uint16)
    pixels[0, :2] = 0, 65535
    save(tmp_path / "a" / f"1.{suffix}", pixels)
    x, _ = load(f"folder:{tmp_path}")[:]
    assert x.dtype == torch.float32
    exact = [float(np.float32(int(k) / 65535)) for k in pixels.ravel()]
    assert x.flatten().tolist() == exact


def test_16_bits_per_colour_are_refused_because_pillow_drops_half_of_them(tmp_path: Path) -> None:
    tmp_path.joinpath("a").mkdir()
    pixels = RNG.integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    (tmp_path / "a" / "1.ppm").write_bytes(b"P6\n4 5\n65535\n" + pixels.astype(">u2").tobytes())
    with pytest.raises(InputError, match="16 bits per colour, of which Pillow reads 8"):
        load(f"folder:{tmp_path}")


def test_jpeg_is_decoded_as_pillow_does(tmp_path: Path) -> None:
    save(tmp_path / "a" / "1.jpg", RGB[0])
    with Image.open(tmp_path / "a" / "1.jpg") as image:
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert torch.equal(load(f"folder:{tmp_path}")[:][0][0], expected)


def test_only_what_is_sliced_is_decoded(rgb_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = folder.decoded
    monkeypatch.setattr(folder, "decoded", lambda file, where: decoded.append(file.name) or decode(file, where))
    data = load(f"folder:{rgb_folder}")
    assert decoded == ["0.png"]
    data[2:4]
    assert decoded[1:] == ["4.png", "1.png"]


def test_parts_share_the_classes_of_both(tmp_path: Path) -> None:
    for i, name in enumerate(["train/cat", "train/emu", "test/dog", "test/emu"]):
        save(tmp_path / name / "1.png", RGB[i])
    train, test = load(f"folder:{tmp_path}", split="train"), load(f"folder:{tmp_path}")
    assert train.class_names == test.class_names == ("cat", "dog", "emu")
    assert (train[:][1].tolist(), test[:][1].tolist()) == ([0, 2], [1, 2])
    assert test.name == f"folder:{tmp_path},split=test"
    with pytest.raises(InputError, match=r"unknown split of .*: 'val'; known: train, test"):
        load(f"folder:{tmp_path},split=val")


def test_a_folder_without_parts_has_no_split(rgb_folder: Path) -> None:
    assert len(load(f"folder:{rgb_folder}", split="train")) == 6
    with pytest.raises(InputError, match="has no parts, but split=train was given"):
        load(f"folder:{rgb_folder},split=train")


@pytest.mark.parametrize(
    ("file", "pixels", "mode", "facts"),
    [
        ("dog/9.png", RGB[0][:4], None, ["9.png is RGB 4x4", "0.png is RGB 4x5"]),
        ("dog/9.png", GREY[0], None, ["9.png is grey (L) 4x5", "0.png is RGB 4x5"]),
        ("dog/9.png", RGB[0], "P", ["9.png has mode P", "convert('RGB')"]),
        ("dog/9.png", RGB[0], "RGBA", ["9.png has mode RGBA"]),
        ("dog/9.png", GREY[0], "LA", ["9.png has mode LA"]),
        ("dog/9.png", GREY[0], "1", ["9.png has mode 1"]),
        ("dog/9.png", GREY[0].astype(np.uint16) * 200, None, ["9.png is 16-bit grey 4x5", "0.png is RGB 4x5"]),
        ("dog/9.jpg", RGB[0], "CMYK", ["9.jpg has mode CMYK"]),
    ],
)
def test_pictures_unlike_the_first_are_named(
    rgb_folder: Path, file: str, pixels: np.ndarray, mode: str | None, facts: list[str]
) -> None:
    save(rgb_folder / file, pixels, mode)
    data = load(f"folder:{rgb_folder}")
    with pytest.raises(InputError) as refusal:
        data[:]
    assert all(fact in str(refusal.value) for fact in facts), str(refusal.value)


def test_damaged_and_moving_pictures_are_named(rgb_folder: Path) -> None:
    whole = (rgb_folder / "cat" / "2.png").read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no picture"):
        (rgb_folder / "cat" / "2.png").write_bytes(content)
        with pytest.raises(InputError, match=r"2\.png cannot be decoded"):
            load(f"folder:{rgb_folder}")[:]
    frames = [Image.fromarray(pixels) for pixels in RGB[:2]]
    frames[0].save(rgb_folder / "cat" / "2.png", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"2\.png has 2 frames"):
        load(f"folder:{rgb_folder}")[:]


def test_folders_without_classes_or_pictures_are_explained(rgb_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        load(f"folder:{tmp_path}/nowhere")
    with pytest.raises(InputError, match="has no sub-folders; pictures must lie in one sub-folder per class"):
        load(f"folder:{rgb_folder}/cat")
    with pytest.raises(InputError, match=r"holds no picture .* It has sub-folders \(cat, dog\)"):
        load(f"folder:{tmp_path}")
    (rgb_folder / "emu").mkdir()
    with pytest.raises(InputError, match=r"class folder .*emu holds no picture .* Remove it"):
        load(f"folder:{rgb_folder}")
