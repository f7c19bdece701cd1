"""A counter-based random generator: every draw is a function of its key, on every device.

A `Keys` holds one 64-bit key per example. Draws for an example depend on its key alone, so batching,
order, chunking and the number of processes change no draw. Bits and uniforms are integer arithmetic,
the same everywhere; normals use log and cos in float64, whose last bit may differ between devices.

References
----------
Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011
(Philox4x32-10). Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014 (the finaliser used to hash).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from epsball.checks import check_seed as check_seed

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_CHUNK = 1 << 18


def _signed(word: int) -> int:
    """Return the signed 64-bit integer with the bits of `word`."""
    return (word & (2**64 - 1)) - (2**64 if word & (1 << 63) else 0)


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX = (_signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB))


def _shift(word: Tensor, places: int) -> Tensor:
    """Return the logical right shift of int64 bit patterns."""
    return (word >> places) & ((1 << (64 - places)) - 1)


def _mix(word: Tensor) -> Tensor:
    """Return the splitmix64 finaliser of int64 bit patterns."""
    word = (word ^ _shift(word, 30)) * _MIX[0]
    word = (word ^ _shift(word, 27)) * _MIX[1]
    return word ^ _shift(word, 31)


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return Philox4x32-10 of four counter words and two key words (int64 holding 32 bits each).

    A product of two 32-bit words wraps in int64; shifting and masking still give its high word.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def text_word(text: str) -> int:
    """Return a signed 64-bit word that depends on every character of `text`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little", signed=True)


@dataclass(frozen=True)
class Keys:
    """One key per example; everything drawn for the example is a function of its key.

    Parameters
    ----------
    words
        Int64 tensor (n,) of key bits.

    Examples
    --------
    >>> keys = Keys.of_positions(torch.arange(3), seed=0)
    >>> draws = keys.derive("start").uniform((2,))
    >>> draws.shape, bool((draws[2] == keys[2:].derive("start").uniform((2,))).all())
    (torch.Size([3, 2]), True)
    """

    words: Int64[Tensor, " n"]

    @classmethod
    def of_positions(cls, positions: Int64[Tensor, " n"], seed: int) -> "Keys":
        """Return keys of (seed, position in the data set), as training uses them."""
        return cls(_mix(positions + _GOLDEN)).derive(seed)

    @classmethod
    def of_examples(cls, x: Float[Tensor, "n *shape"], y: Int64[Tensor, " n"], seed: int) -> "Keys":
        """Return keys of (seed, the example's own values and label), as evaluation uses them.

        Float32 and float64 arrays of equal values give equal keys. The hash is a sum of
        position-dependent words modulo 2^64, so it does not depend on the order of summation.
        """
        flat = x.detach().reshape(len(x), math.prod(x.shape[1:]))
        positions = torch.arange(flat.shape[1], device=x.device, dtype=torch.int64) * _GOLDEN
        words = torch.empty(len(x), dtype=torch.int64, device=x.device)
        rows = max(1, _CHUNK // max(1, flat.shape[1]))
        for start in range(0, len(x), rows):
            # Adding zero turns -0.0 into 0.0, so that equal values give equal keys.
            bits = (flat[start : start + rows].to(torch.float64) + 0.0).view(torch.int64)
            words[start : start + rows] = _mix(bits ^ positions).sum(dim=1)
        return cls(_mix(words ^ _mix(y.to(x.device, torch.int64) + _GOLDEN))).derive(seed)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, rows: Tensor | slice) -> "Keys":
        return Keys(self.words[rows])

    def derive(self, *labels: int | str) -> "Keys":
        """Return keys that also depend on labels (an attack's name, a restart, a step)."""
        words = self.words
        for label in labels:
            word = text_word(label) if isinstance(label, str) else _signed(int(label))
            words = _mix((words ^ _mix(torch.tensor(word, dtype=torch.int64, device=words.device))) + _GOLDEN)
        return Keys(words)

    def bits(self, count: int) -> Int64[Tensor, "n count"]:
        """Return `count` independent 32-bit words per example, in int64."""
        blocks = math.ceil(count / 4)
        index = torch.arange(blocks, dtype=torch.int64, device=self.words.device)
        zero = torch.zeros((), dtype=torch.int64, device=self.words.device)
        out = torch.empty(len(self), blocks, 4, dtype=torch.int64, device=self.words.device)
        rows = max(1, _CHUNK // max(1, blocks))
        for start in range(0, len(self), rows):
            words = self.words[start : start + rows, None]
            key = (words & _MASK, _shift(words, 32))
            lanes = philox((index[None, :], zero, zero, zero), key)
            out[start : start + rows] = torch.stack(torch.broadcast_tensors(*lanes), dim=-1)
        return out.flatten(1)[:, :count]

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
        """Return draws (n, *shape) uniform on the open interval (0, 1).

        Float64 draws are exactly (k + 1/2) / 2^32; narrower dtypes use 23 bits,
        (k + 1/2) / 2^23, so that no float32 draw rounds to 0 or 1.
        """
        words = self.bits(math.prod(shape)).reshape(len(self), *shape)
        if dtype == torch.float64:
            return (words.to(torch.float64) + 0.5) * 2.0**-32
        return ((words >> 9).to(dtype) + 0.5) * 2.0**-23

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
        """Return standard normal draws (n, *shape), by Box and Muller in float64."""
        count = math.prod(shape)
        u = self.uniform((2, math.ceil(count / 2)))
        radius = torch.sqrt(-2.0 * torch.log(u[:, 0]))
        angle = 2.0 * math.pi * u[:, 1]
        draws = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]
        return draws.reshape(len(self), *shape).to(dtype)

    def exponential(self, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
        """Return standard exponential draws (n, *shape)."""
        return -torch.log(self.uniform(shape)).to(dtype)

    def choice(self, upper: int) -> Int64[Tensor, " n"]:
        """Return one integer from 0 to upper - 1 per example (bias below upper / 2^32)."""
        return (self.bits(1)[:, 0] * upper) >> 32
