"""The one check of input shapes that the convolutional architectures share."""

from epsball.errors import InputError


def image_shape(name: str, shape: tuple[int, ...], *, least: int, multiple: int = 1) -> tuple[int, int, int]:
    """Return (channels, height, width) if the architecture `name` can take such images.

    Parameters
    ----------
    name
        The architecture, for the message.
    shape
        Shape of one input.
    least
        Smallest height and width in pixels.
    multiple
        Height and width must be multiples of this.

    Raises
    ------
    InputError
        If `shape` is not an image, too small, or not a multiple.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"{name} takes images of shape channels x height x width; the shape is {_text(shape)}.")
    channels, height, width = shape
    if height < least or width < least:
        raise InputError(
            f"{name} takes images of at least {least}x{least} pixels; the shape is {_text(shape)}. "
            "Use mlp for smaller ones, or enlarge the images."
        )
    if height % multiple or width % multiple:
        raise InputError(
            f"{name} takes images whose sides are multiples of {multiple}; the shape is {_text(shape)}. "
            "Pad or crop the images."
        )
    return channels, height, width


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
