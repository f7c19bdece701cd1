"""The style sheet: its colours are those of all figures, on light and on dark paper."""

from importlib.resources import files

from epsball.figures import PAGE
from epsball.report.svg import paints

VERDICT_COLOURS = {
    "certified": "blue",
    "undecided": "sky",
    "invalid": "grey",
    "broken": "vermilion",
    "misclassified": "purple",
}
"""What a verdict is painted: blues stand, warm colours fell; in the order of the chain's bar."""


def style_sheet() -> str:
    """Return the style sheet of a page."""
    light, dark = (
        "".join(f"--{name}:{pair[number]};" for name, pair in PAGE.items()) + f"color-scheme:{scheme}"
        for number, scheme in enumerate(("light", "dark"))
    )
    own = (files("epsball.report") / "static" / "page.css").read_text()
    return "\n".join(
        [
            f":root{{{light}}}",
            f'@media (prefers-color-scheme:dark){{:root:not([data-theme="light"]){{{dark}}}}}',
            f':root[data-theme="dark"]{{{dark}}}',
            f"@media print{{:root,:root[data-theme]{{{light}}}}}",
            *(f".f-{name}{{fill:var(--{name})}}.s-{name}{{stroke:var(--{name})}}" for name in paints()),
            *(f".v-{verdict}{{--verdict:var(--{name})}}" for verdict, name in VERDICT_COLOURS.items()),
            own,
        ]
    )
