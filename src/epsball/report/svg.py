"""A matplotlib figure as an SVG element without style attributes, its colours classes that a style sheet paints.

What is not on the list of elements and attributes is left out, so that a figure read from a file brings nothing else.
"""

import io
import warnings
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import matplotlib as mpl

from epsball import figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMESPACE = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_ELEMENTS = ("svg", "g", "path", "rect", "circle", "line", "text", "tspan", "defs", "use", "clipPath", "image", "title")
_PRESENTATION = (
    *("fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-dasharray", "stroke-dashoffset"),
    *("stroke-opacity", "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "opacity", "font-size"),
    *("font-weight", "text-anchor", "clip-path", "clip-rule"),
)
_GEOMETRY = (
    *("x", "y", "x1", "x2", "y1", "y2", "dx", "dy", "width", "height", "d", "transform", "viewBox", "r", "cx", "cy"),
    *("points", "id", "preserveAspectRatio"),
)
_PAINTS = {
    figures.BLACK: "ink",
    figures.PURE_BLACK: "ink",
    figures.GREY: "soft",
    figures.LIGHT_GREY: "line",
    figures.WHITE: "paper",
    figures.BLUE: "blue",
    figures.SKY: "sky",
    figures.VERMILION: "vermilion",
    figures.PURPLE: "purple",
    figures.ORANGE: "orange",
    figures.GREEN: "green",
}
_CLASSES = {colour.lower(): name for colour, name in _PAINTS.items()}
"""The class of a colour; ``f-`` before it fills, ``s-`` strokes."""

_SALT = count()


def paints() -> list[str]:
    """Return the names of the colours that classes are made of."""
    return sorted(set(_CLASSES.values()))


def svg_of(figure: "Figure", title: str) -> str:
    """Return a figure as an SVG element whose accessible name is `title`."""
    buffer = io.StringIO()
    with (
        mpl.rc_context({"svg.hashsalt": title, "svg.fonttype": "none", "font.size": 9.0}),
        warnings.catch_warnings(),
    ):
        # The reader's browser draws the letters, and has the fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return clean(buffer.getvalue(), title)


def clean(text: str, title: str) -> str:
    """Return an SVG document as an element for a page: listed elements and attributes only, ids of its own.

    Raises
    ------
    ValueError
        If it cannot be read as SVG.
    """
    try:
        root = ET.fromstring(_without_doctype(text))
    except ET.ParseError as error:
        raise ValueError(f"not an SVG document: {error}") from error
    if root.tag != f"{_NAMESPACE}svg" or "viewBox" not in root.attrib:
        raise ValueError("not an SVG document with a view box")
    salt = f"g{next(_SALT)}-"
    _, _, width, height = root.attrib["viewBox"].split()
    element = _copy(root, salt)
    element.attrib |= {"role": "img", "aria-label": title, "width": f"{float(width):g}", "height": f"{float(height):g}"}
    element.attrib |= {"class": "chart", "stroke-linejoin": "round", "stroke-linecap": "butt"}
    return ET.tostring(element, encoding="unicode")


def _without_doctype(text: str) -> str:
    """Return the document from its root on: without declarations of entities."""
    return text[max(0, text.find("<svg")) :]


def _copy(element: ET.Element, salt: str) -> ET.Element:
    name = element.tag.removeprefix(_NAMESPACE)
    made = ET.Element(name, dict(_attributes(element, salt)))
    made.text = element.text if name in ("text", "tspan", "title") else None
    for child in element:
        if isinstance(child.tag, str) and child.tag.removeprefix(_NAMESPACE) in _ELEMENTS:
            copied = _copy(child, salt)
            copied.tail = child.tail if name in ("text", "tspan") else None
            made.append(copied)
    return made


def _attributes(element: ET.Element, salt: str) -> Iterator[tuple[str, str]]:
    classes = []
    for name, value in [*element.attrib.items(), *_styles(element.attrib.get("style", ""))]:
        if name in ("href", _HREF):
            target = _target(value, salt)
            if target is not None:
                yield "href", target
        elif name == "id":
            yield "id", salt + value
        elif name in _PRESENTATION and "url(" in value:
            if value.startswith("url(#"):
                yield name, f"url(#{salt}{value[5:]}"
        elif name in _PRESENTATION or name in _GEOMETRY:
            yield name, value
            if name in ("fill", "stroke") and value.lower() in _CLASSES:
                classes.append(f"{name[0]}-{_CLASSES[value.lower()]}")
    if element.tag == f"{_NAMESPACE}text" and not any(name.startswith("f-") for name in classes):
        classes.append("f-ink")
    if classes:
        yield "class", " ".join(classes)


def _target(value: str, salt: str) -> str | None:
    """Return what a reference may point at: an element of the figure, or pixels inside the document."""
    if value.startswith("#"):
        return f"#{salt}{value[1:]}"
    return value if value.startswith("data:image/png;base64,") else None


def _styles(style: str) -> Iterator[tuple[str, str]]:
    """Yield the declarations of a style attribute; of a font shorthand its size."""
    for declaration in style.split(";"):
        name, colon, value = (part.strip() for part in declaration.partition(":"))
        if not colon:
            continue
        if name == "font":
            yield from (("font-size", part) for part in value.split() if part.endswith("px"))
        else:
            yield name, value
