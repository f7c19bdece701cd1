"""Names of weights without the traces of what the module was wrapped in."""

from collections.abc import Iterable

_WRAPPERS = ("module", "_orig_mod", "model")


def bare_names(names: Iterable[str]) -> dict[str, str]:
    """Return each name without the parts that are wrappers, wherever they stand in it.

    DataParallel and DistributedDataParallel hold the network as ``module``, ``torch.compile`` as
    ``_orig_mod``, training loops often as ``model``. Such a part is left out where all names
    that agree up to it go on with it: nothing stands beside the wrapped network. No two names
    become one.

    Examples
    --------
    >>> bare_names(["module._orig_mod.0.weight", "module._orig_mod.features.module.1.bias"])
    {'module._orig_mod.0.weight': '0.weight', 'module._orig_mod.features.module.1.bias': 'features.1.bias'}
    >>> bare_names(["model.weight", "head.weight"])
    {'model.weight': 'model.weight', 'head.weight': 'head.weight'}
    """
    paths = {name: name.split(".") for name in names}
    beside: dict[tuple[str, ...], set[str]] = {}
    for path in paths.values():
        for depth, part in enumerate(path):
            beside.setdefault(tuple(path[:depth]), set()).add(part)
    return {
        name: ".".join(
            part
            for depth, part in enumerate(path)
            if not (part in _WRAPPERS and len(beside[tuple(path[:depth])]) == 1 and depth + 1 < len(path))
        )
        for name, path in paths.items()
    }
