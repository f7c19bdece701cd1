"""Which arrays of an npz file are the images and which the labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from epsball.errors import InputError, lookup

_IMAGES = ("x", "images", "image", "imgs", "img", "data", "inputs", "input", "features", "samples", "arr_0")
_LABELS = ("y", "labels", "label", "target", "targets", "classes", "arr_1")
_PARTS = ("train", "test", "val", "valid", "validation")
_FIX = "Name them: npz:FILE,images=NAME,labels=NAME."


@dataclass(frozen=True, kw_only=True)
class ArrayNames:
    """The names of images and labels in a file, and the part they are, if the file has parts."""

    images: str
    labels: str
    split: str | None = None


def find_pair(names: Sequence[str], *, split: str, images: str | None, labels: str | None, where: str) -> ArrayNames:
    """Return the names of images and labels among the `names` of a file.

    What the user says goes first; then ``x`` and ``y``; then the only pair of usual names, in any case
    (``images``, ``labels``; ``data``, ``target``; ``arr_0``, ``arr_1``; ...); then the only pair of those with
    a part's name before or after (``x_test``, ``y_test``; ``train_images``, ``train_labels``).

    Parameters
    ----------
    names
        The arrays that the file has.
    split
        The part to take where it has parts.
    images, labels
        What the user says.
    where
        The file, for messages.

    Raises
    ------
    InputError
        If there is no such pair, or more than one.

    Examples
    --------
    >>> find_pair(["Images", "labels", "info"], split="test", images=None, labels=None, where="FILE")
    ArrayNames(images='Images', labels='labels', split=None)
    >>> find_pair(["x_train", "y_train", "x_test", "y_test"], split="test", images=None, labels=None, where="FILE")
    ArrayNames(images='x_test', labels='y_test', split='test')
    """
    said = {"images": images, "labels": labels}
    for name in said.values():
        if name is not None:
            lookup(dict.fromkeys(names), name, f"array of {where}:")
    plain = _candidates(names, said, None)
    if all(plain.values()):
        return ArrayNames(**_only(plain, where))
    pairs = {part: _candidates(names, said, part) for part in _PARTS}
    parts = {part: pair for part, pair in pairs.items() if all(pair.values())}
    if parts:
        return ArrayNames(**_only(lookup(parts, split, f"split of {where}:"), where), split=split)
    missing = " and no ".join(kind for kind, found in plain.items() if not found)
    raise InputError(
        f"{where} has no {missing} under a usual name; its arrays are {', '.join(names) or 'none'}. {_FIX} "
        "Or write it with np.savez(FILE, x=..., y=...)."
    )


def _candidates(names: Sequence[str], said: dict[str, str | None], part: str | None) -> dict[str, list[str]]:
    """Return the names that may be the images and the labels of a part."""
    bare = {name: _bare(name.lower(), part) for name in names}
    found = {
        kind: [name for name in names if bare[name] in usual] if said[kind] is None else [str(said[kind])]
        for kind, usual in (("images", _IMAGES), ("labels", _LABELS))
    }
    x, y = ([name for name in names if bare[name] == letter] for letter in "xy")
    return {"images": x, "labels": y} if x and y and not any(said.values()) else found


def _bare(name: str, part: str | None) -> str | None:
    """Return the name without the part's name before or after it; None if it does not bear it."""
    if part is None:
        return name
    for affix in (f"_{part}", f"{part}_"):
        if name != (rest := name.removesuffix(affix) if affix[0] == "_" else name.removeprefix(affix)):
            return rest
    return None


def _only(pair: dict[str, list[str]], where: str) -> dict[str, str]:
    """Return the one name of each kind."""
    for kind, found in pair.items():
        if len(found) > 1:
            raise InputError(f"{where} has several arrays that may be its {kind}: {', '.join(found)}. {_FIX}")
    return {kind: found[0] for kind, found in pair.items()}
