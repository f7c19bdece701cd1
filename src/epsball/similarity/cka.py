"""`cka`: the similarity of every layer of one network to every layer of another."""

from contextlib import ExitStack
from typing import Any, get_args

from epsball.errors import InputError
from epsball.interruption import carrying
from epsball.similarity.hsic import Estimator
from epsball.similarity.kernels import KernelLike, Linear, kernel_named
from epsball.similarity.layers import Choice
from epsball.similarity.measure import MAX_MEMORY, measure
from epsball.similarity.result import Similarity
from epsball.similarity.rows import Rows
from epsball.similarity.side import check_rows, prepare


def cka(
    model_a: Any,
    model_b: Any,
    data: Any,
    data_b: Any = None,
    *,
    layers: Choice = "all",
    layers_b: Choice | None = None,
    kernel: KernelLike = "linear",
    estimator: Estimator = "debiased",
    batch_size: int | None = None,
    max_memory: int = MAX_MEMORY,
) -> Similarity:
    """Return the centred kernel alignment of the layers of two networks, with its standard error.

    CKA(K, L) = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) for the kernels K and L of two layers on
    the same rows. All rows form one batch, and the value is exact, if the kernels of all layers
    fit `max_memory`; otherwise HSIC is averaged over batches, weighted by their rows (unbiased
    for the debiased estimator). Each row passes once through each network (for a kernel with a
    width, up to 256 rows pass twice).

    Parameters
    ----------
    model_a, model_b
        `torch.nn.Module`, or a callable that holds one as `.module` (a `Classifier`). They run in
        evaluation mode and are restored afterwards.
    data
        Inputs: a tensor (n, *shape), a pair (x, y), a text, a DataLoader, or an object with a
        length that slices to (x, y); n >= 4. Labels are not used.
    data_b
        Inputs of `model_b` if they differ, paired row by row (adversarial examples of `data`).
    layers, layers_b
        ``"all"``, ``"stages"``, or patterns of names (`epsball.similarity.layer_names`); `layers_b`
        chooses those of `model_b`, by default like `layers`.
    kernel
        ``"linear"``, ``"rbf"``, or a kernel such as ``RBF(bandwidth=0.5)``.
    estimator
        ``"debiased"`` (HSIC_1; about 0 for independent features) or ``"plain"`` (HSIC_0, the
        chapter's, which for p >> n is near 1 whatever the features are).
    batch_size
        Most rows in a batch, for networks whose activations need much memory (up to three more
        if a batch would otherwise have fewer than four).
    max_memory
        Bytes for the kernels of a batch, all layers of both networks together.

    Raises
    ------
    InputError
        If the data have different lengths or fewer than 4 rows, a pattern names no layer, or an
        option is out of range.
    ModelError
        If a layer does not run, or its activations are not finite.
    KeyboardInterrupt
        If it is interrupted; its `partial` is None: HSIC of a part of the rows is not that of all.

    References
    ----------
    Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network representations revisited",
    ICML 2019. Nguyen, Raghu and Kornblith, ICLR 2021 (debiased, over minibatches).

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> import epsball as eb
    >>> x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    >>> found = eb.cka(nn.Identity(), nn.Flatten(), x, 2 * x + 1)
    >>> found.matrix.shape, round(float(found.matrix), 6)
    (torch.Size([1, 1]), 1.0)
    """
    if estimator not in get_args(Estimator):
        raise InputError(f"estimator is '{estimator}'; choose 'debiased' or 'plain'.")
    rows_a = Rows(data, "data")
    rows_b = rows_a if data_b is None or data_b is data else Rows(data_b, "data_b")
    check_rows(rows_a, rows_b)
    method = kernel_named(kernel)
    with carrying(lambda: None), ExitStack() as stack:
        first = prepare(stack, model_a, rows_a, layers, method, estimator, "model_a")
        chosen_b = layers if layers_b is None else layers_b
        same = model_a is model_b and rows_b is rows_a and chosen_b == layers
        second = first if same else prepare(stack, model_b, rows_b, chosen_b, method, estimator, "model_b")
        (found,) = measure([(first, second)], method, estimator, batch_size=batch_size, max_memory=max_memory)
    return found


def layer_names(model: Any, data: Any, layers: Choice = "all") -> list[str]:
    """Return the names of a network's layers in execution order, as `cka` would choose them.

    Parameters
    ----------
    model, data, layers
        As for `cka`; four rows are passed through the network.

    Raises
    ------
    InputError, ModelError
        As for `cka`.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> layer_names(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)), torch.rand(4, 6))
    ['0', '1', '2']
    """
    rows = Rows(data, "data")
    check_rows(rows, rows)
    with ExitStack() as stack:
        side = prepare(stack, model, rows, layers, Linear(), "debiased", "model")
    return list(side.layers)
