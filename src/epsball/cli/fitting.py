"""Data in the layout that a model takes, where the two can differ."""

import torch

from epsball import models
from epsball.data import Dataset
from epsball.data.layout import is_moved, is_plane, stored, with_channel
from epsball.errors import EpsballError, InputError, ModelError
from epsball.generator_state import preserved
from epsball.module_state import untouched

_ROWS = 2


def fitting(text: str, data: Dataset, seed: int) -> Dataset:
    """Return the data as the model that a text names takes them.

    Images without channels get one where the model runs only so; channels that were moved first go back
    where it runs only so. All other data stay as they are, and the model is not loaded.
    """
    if is_plane(data.shape):
        other = with_channel(data, f"{data.name} has no channels; the model takes one, which is added.")
    elif is_moved(data):
        other = stored(data, f"{data.name} stays with channels last, as the model takes it.")
    else:
        return data
    return data if _runs(text, data, seed) or not _runs(text, other, seed) else other


def _runs(text: str, data: Dataset, seed: int) -> bool:
    """Return whether the model can be built for inputs of this shape and runs on some."""
    try:
        with preserved(seed):
            module = models.load(text, shape=data.shape, classes=data.classes).module
        with untouched(module), torch.no_grad():
            logits = module(torch.zeros(_ROWS, *data.shape))
    except (InputError, ModelError):
        return False
    except EpsballError:  # It fails in the same way for any data: the command says so.
        return True
    except Exception:  # A module may refuse a shape in any way.
        return False
    return logits.shape[:1] == (_ROWS,) and logits.ndim == 2
