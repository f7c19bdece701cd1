"""``epsball merge``."""

import json as documents
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from epsball.cli.common import Output
from epsball.cli.progress import Loudness

_LOUDNESS = Loudness()
_Parts = Annotated[Path, Parameter(help="Folders that epsball audit --shard K/N --out FOLDER wrote.")]
_Json = Annotated[bool, Parameter(negative=(), help="Print one JSON document to standard output instead of text.")]


def merge(*parts: _Parts, out: Path, json: _Json = False, loudness: Loudness = _LOUDNESS) -> Output:
    """Join the parts of an audit that independent jobs made with --shard K/N, in one folder.

    Of parts within several balls, the runs within each ball are joined. Then the audit's command with --out FOLDER,
    without --shard, does what is missing and adds everything up.

    Parameters
    ----------
    out
        Folder of the joined run.
    """
    from epsball.auditing import merge as run

    result = run(parts, out)
    return Output(documents.dumps(result.to_json(), indent=2) if json else str(result))
