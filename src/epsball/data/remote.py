"""Files that are read where they are, by their addresses: a part at a time, nothing is kept on disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from epsball.errors import EpsballError, InputError

_BLOCK = 1 << 20
"""Bytes that are fetched at a time."""


@dataclass(frozen=True)
class RemoteFile:
    """A file by its address; it can be sent to workers, each of which opens it anew.

    Parameters
    ----------
    url
        Its address: ``hf://datasets/...``, ``https://...``, or a path.
    """

    url: str

    @property
    def name(self) -> str:
        """The last part of its address."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The rest of its address."""
        return self.url.rpartition("/")[0]

    def __str__(self) -> str:
        return self.url

    def opened(self) -> Any:
        """Return it as a file that is read by ranges."""
        import fsspec

        system, path = fsspec.url_to_fs(self.url)
        return system.open(path, "rb", block_size=_BLOCK)


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Say of what the block reads at an address that it cannot be reached, where that is so.

    Raises
    ------
    InputError
        With the address and what its file system said; the same command goes on when it can be reached again.
    """
    try:
        yield
    except (EpsballError, KeyError):
        raise
    except Exception as error:
        raise InputError(
            f"{url} cannot be read ({type(error).__name__}: {str(error).partition(chr(10))[0]}); call again when it "
            "can be reached, or fetch it again if it is damaged."
        ) from error
