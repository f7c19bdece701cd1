"""What was understood of a model and its data, in words."""

from epsball.ball import Ball
from epsball.classifier import Classifier, Normalise
from epsball.data import Dataset
from epsball.models import LoadedModel
from epsball.models.inference_notes import by_x, numbers


def about(classifier: Classifier, loaded: LoadedModel | None, dataset: Dataset, ball: Ball) -> dict[str, str]:
    """Return what was understood: source, parameters, preprocessing, input, classes, data, ball."""
    tensors = list(classifier.module.parameters())
    count, kept = sum(t.numel() for t in tensors), sum(t.numel() for t in classifier.module.buffers())
    said = {
        "model": type(classifier.module).__name__ if loaded is None else loaded.text,
        "weights": _weights(loaded),
        "parameters": f"{count:,}"
        + (f", and {kept:,} buffers" if kept else "")
        + f"; {str(classifier.dtype).removeprefix('torch.')} on {classifier.device}",
        "preprocessing": _preprocessing(classifier, loaded),
        "input": f"{by_x(tuple(dataset.shape))}, {_box(classifier)}",
        "classes": _classes(loaded, dataset),
        "data": f"{dataset.name or 'given'}: {len(dataset)} examples"
        + (f", split {dataset.split}" if dataset.split else ""),
        "ball": str(ball),
        "fingerprint": classifier.fingerprint(),
    }
    notes = [*(loaded.notes if loaded else ()), *dataset.notes]
    said |= {"overruled": ", ".join(classifier.overruled)} if classifier.overruled else {}
    return said | ({"inferred": "; ".join(note.rstrip(".") for note in notes)} if notes else {})


def _weights(loaded: LoadedModel | None) -> str:
    if loaded is None:
        return "those of the module that was given"
    if loaded.weights is not None:
        return str(loaded.weights)
    return "none named: those the module is built with, newly drawn unless its own code loads some"


def _preprocessing(classifier: Classifier, loaded: LoadedModel | None) -> str:
    """Return the normalisation and where it was read."""
    mean, std = _normalisation(classifier, loaded)
    if mean is None and std is None:
        return "none outside the model: it sees pixels as they are"
    said = ", ".join(f"{key}={numbers(value)}" for key, value in (("mean", mean), ("std", std)) if value is not None)
    if loaded is None:
        return f"{said} (given to the Classifier)"
    if loaded.card is not None:
        return f"{said} (read from the card)"
    where = [note for note in loaded.notes if note.startswith("read from") and "mean=" in note]
    if where:
        return f"{said} ({where[0].partition(':')[0]})"
    return f"{said} (given in the model's text)"


def _normalisation(
    classifier: Classifier, loaded: LoadedModel | None
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if loaded is not None:
        return loaded.mean, loaded.std
    for part in classifier.network.modules():
        if isinstance(part, Normalise):
            mean, std = (tuple(tensor.flatten().tolist()) for tensor in (part.mean, part.std))
            return mean, std
    return None, None


def _box(classifier: Classifier) -> str:
    return "any finite values" if classifier.low is None else f"values in [{classifier.low:g}, {classifier.high:g}]"


def _classes(loaded: LoadedModel | None, dataset: Dataset) -> str:
    of_model = None if loaded is None else loaded.classes
    said = f"{dataset.classes} in the data" + ("" if of_model is None else f", {of_model} in the model")
    names = (loaded.class_names if loaded else None) or dataset.class_names
    if names:
        said += f": {', '.join(names[:5])}" + (", ..." if len(names) > 5 else "")
    return said
