"""Mathematics as MathML, which browsers draw themselves: the site needs neither a network nor a script."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

_KNOWN_AS = {r"\dots": r"\ldots"}
"""Commands that the converter knows under another name."""


def _mathml(latex: str, *, inline: bool) -> str:
    for given, known in _KNOWN_AS.items():
        latex = latex.replace(given, known)
    return tex2mathml(re.sub(r"\s+", " ", latex.strip()), as_block=not inline)


def inline(translator, node) -> None:
    """Write a formula in a line."""
    translator.body.append(_mathml(node.astext(), inline=True))
    raise nodes.SkipNode


def block(translator, node) -> None:
    """Write a formula of its own."""
    translator.body.append(f'<div class="math">{_mathml(node.astext(), inline=False)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
