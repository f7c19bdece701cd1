"""All surrogates by the operation's name, and the operations that need none."""

import torch

from epsball.attacks.adaptive.surrogates.call import Surrogate
from epsball.attacks.adaptive.surrogates.comparing import COMPARING
from epsball.attacks.adaptive.surrogates.looking_up import LOOKING_UP
from epsball.attacks.adaptive.surrogates.quantised import QUANTISED
from epsball.attacks.adaptive.surrogates.ranking import RANKING
from epsball.attacks.adaptive.surrogates.rounding import ROUNDING
from epsball.attacks.adaptive.surrogates.saturating import SATURATING

SURROGATES: dict[str, Surrogate] = {
    **ROUNDING,
    **COMPARING,
    **RANKING,
    **LOOKING_UP,
    **SATURATING,
    **QUANTISED,
}

DIFFERENTIABLE = frozenset(
    {*SATURATING, *LOOKING_UP, "scatter", "div", "divide", "max", "min", "where", "masked_fill"}
) | {
    *("to", "type", "type_as", "float", "double", "half", "bfloat16", "dequantize"),
} - {"bucketize", "searchsorted", "embedding"}
"""What passes gradients by itself, but for some arguments."""

CUTS = frozenset({"detach", "detach_", "data.__get__"})
"""What hands a tensor on without its gradient."""

LEAVING = frozenset(
    {
        "numpy",
        "__array__",
        "tolist",
        "item",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "__complex__",
        "__dlpack__",
    }
)
"""What takes values out of torch."""

RANDOM = frozenset({"bernoulli", "poisson", "dropout", "alpha_dropout", "feature_dropout", "rrelu", "multinomial"})
"""What draws random numbers, which must be drawn once."""

NO_VALUES = frozenset(
    {
        *("size", "__len__", "dim", "ndimension", "numel", "nelement", "stride", "storage_offset", "data_ptr"),
        *("is_contiguous", "is_floating_point", "is_complex", "is_signed", "element_size", "get_device", "__hash__"),
        *("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like", "randint_like", "__repr__"),
        *("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor", "is_tensor", "isnan", "isinf", "isfinite"),
        *(
            "normal_",
            "uniform_",
            "random_",
            "zero_",
            "fill_",
            "result_type",
            "can_cast",
            "__setstate__",
            "untyped_storage",
        ),
        *("_set_grad_enabled", "set_grad_enabled", "requires_grad.__get__", "shape.__get__", "dtype.__get__"),
    }
)
"""What returns nothing that depends on a tensor's values."""


def name_of(func: object) -> str:
    """Return the name under which an operation stands in the tables: `round`, `data.__get__`, `quantized::linear`."""
    if isinstance(func, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        space, _, name = (
            func._schema.name if isinstance(func, torch._ops.OpOverload) else str(func).replace(".", "::")
        ).partition("::")
        return f"{space}::{name}" if space == "quantized" else name
    name = getattr(func, "__name__", "")
    if name in ("__get__", "__set__"):
        return f"{getattr(getattr(func, '__self__', None), '__name__', '')}.{name}"
    return name
