"""`load`: a data set from a text, a pair, or an object, and the registry of kinds of text."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from epsball.data.cifar10 import open_cifar10
from epsball.data.dataset import Dataset
from epsball.data.digits import open_digits
from epsball.data.folder import open_folder
from epsball.data.given import from_object, from_pair
from epsball.data.hub import open_hub
from epsball.data.idx import open_idx
from epsball.data.npz import open_npz
from epsball.data.parquet import open_parquet
from epsball.data.selection import select
from epsball.data.webdataset import open_webdataset
from epsball.errors import InputError, lookup, nearest
from epsball.option_text import split_options

KINDS: dict[str, Callable[..., Dataset]] = {
    "digits": open_digits,
    "idx": open_idx,
    "cifar10": open_cifar10,
    "npz": open_npz,
    "folder": open_folder,
    "hf": open_hub,
    "webdataset": open_webdataset,
    "parquet": open_parquet,
}
"""The function behind each kind: it takes the path, and its keywords are the kind's options."""

PATHLESS = ("digits",)
"""The kinds that take no path."""

_SELECTION = ("first", "indices")


def load(source: Any, *, split: str | None = None) -> Dataset:
    """Return the data set that `source` names or is.

    Parameters
    ----------
    source
        A text ``KIND:PATH[,split=test][,first=1000][,indices=FILE]`` with KIND one of digits
        (without path), idx, cifar10, npz, folder, hf, webdataset, parquet; a pair (x, y) of tensors or arrays; an
        object with ``len(d)`` and ``d[i:j] -> (x, y)``; or a `Dataset`, returned as it is.
    split
        The part to take where the source has parts and the text names none (default ``"test"``).

    Raises
    ------
    InputError
        If the source is missing, damaged or ambiguous, or breaks a rule for images or labels.
    MissingExtra
        For ``hf`` without the extra of that name.

    Warns
    -----
    IncompleteData
        If the selection skips examples that the files lack.

    Examples
    --------
    >>> data = load("digits,first=3")
    >>> data
    digits,split=test,first=3: 3 examples of shape (1, 8, 8), 10 classes
    >>> x, y = data[0:2]
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str):
        return _from_text(source, split or "test")
    if isinstance(source, tuple | list):
        if len(source) != 2:
            raise InputError(f"data is a {type(source).__name__} of {len(source)}; give a pair (x, y).")
        return replace(from_pair(*source), name="(x, y)")
    return replace(from_object(source), name=type(source).__name__)


def _from_text(text: str, default_split: str) -> Dataset:
    head, options = split_options(text)
    kind, _, path = head.partition(":")
    if kind not in KINDS and ":" not in head:
        raise InputError(
            f"data text '{head}' does not name a kind; write KIND:PATH with KIND one of {', '.join(KINDS)}."
            + (_as_path(head) or nearest(kind, KINDS))
        )
    opener = lookup(KINDS, kind, "kind of data:")
    if not path and kind not in PATHLESS:
        raise InputError(f"data text '{text}' has no path; write {kind}:PATH.")
    own = [name for name in inspect.signature(opener).parameters if name != "path"]
    for option in options:
        lookup(dict.fromkeys((*own, *_SELECTION)), option, f"option of '{kind}':")
    arguments = {name: options[name] for name in own if name in options}
    if "split" in own:
        arguments.setdefault("split", default_split)
    data = _opened(opener, path, arguments, head)
    if "split" in options and data.split is None:
        raise InputError(f"'{head}' has no parts, but split={options['split']} was given; leave it out.")
    selected = select(data, first=options.get("first"), indices=options.get("indices"))
    shown = {"split": data.split} if data.split else {}
    return replace(selected, name=",".join([head, *(f"{k}={v}" for k, v in {**shown, **options}.items())]))


def _as_path(head: str) -> str:
    """Return how a text that is a path is written as data."""
    path = Path(head).expanduser()
    if path.is_dir():
        return f" It is a folder: write idx:{head}, cifar10:{head} or folder:{head}, by what is in it."
    return f" It is a file: write npz:{head}." if path.suffix == ".npz" and path.is_file() else ""


def _opened(opener: Callable[..., Dataset], path: str, arguments: dict[str, str], head: str) -> Dataset:
    try:
        return opener(path, **arguments)
    except OSError as error:
        raise InputError(f"'{head}' cannot be read: {error}. Check the path and its permissions.") from error
