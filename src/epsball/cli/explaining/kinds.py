"""The kinds of names that have pages: what each kind tells and what it does not, and where its pages come from."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from epsball.cli.explaining.page import Page, of_docstring, plain
from epsball.cli.listing import CASCADE
from epsball.mistakes import MISTAKES


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of names.

    Parameters
    ----------
    what
        What such a name is, in one sentence.
    tells
        What a result of it says, and what it does not.
    pages
        Gives the page of each name.
    """

    what: str
    tells: str
    pages: Callable[[], Iterable[Page]]


def _attacks() -> Iterator[Page]:
    from epsball.attacks import Collision, Transfer
    from epsball.attacks.registry import known
    from epsball.errors import first_line

    for name, entry in {**known(), "collision": Collision, "transfer": Transfer}.items():
        if isinstance(entry, type):
            norms = ", ".join(entry.norms)
            yield of_docstring("attack", name, entry, norms=norms, use=f"epsball attack MODEL DATA --method {name}")
            continue
        try:
            yield of_docstring("attack", name, entry.load(), package=entry.value)
        except Exception as error:  # Another package's code may fail in any way.
            text = f"Of another package, {entry.value}, which cannot be loaded: {first_line(error)}"
            yield Page(kind="attack", name=name, text=text)


def _objectives() -> Iterator[Page]:
    from epsball.training import OBJECTIVES

    for name, kind in OBJECTIVES.items():
        yield of_docstring("objective", name, kind, use=f"epsball train {name} MODEL DATA --out FOLDER")


def _bounds() -> Iterator[Page]:
    from epsball.certificates import ALIASES, AUTO, METHODS

    yield Page(kind="bound", name=AUTO, text=CASCADE, parts={"use": "epsball certify MODEL DATA"})
    for name, method in METHODS.items():
        others = [alias for alias, stored in ALIASES.items() if stored == name]
        for known in (name, *others):
            also = ", ".join(other for other in (name, *others) if other != known)
            replay = "yes, by epsball replay" if method.replay is not None else "no: it rests on epsball alone"
            parts = {"also called": also, "checked independently": replay, "use": f"epsball certify --method {known}"}
            yield of_docstring("bound", known, method.bound, **parts)


def _checks() -> Iterator[Page]:
    from epsball.masking.checks.registry import CHECKS

    for check in CHECKS:
        page = of_docstring("check", check.name, check.ask)
        given = {"fails from": check.threshold, "source": check.source, "what to do": check.advice}
        parts = {title: plain(text) for title, text in given.items()}
        yield Page(kind="check", name=check.name, text=f"{check.question}\n\n{page.text}", parts=parts, file=page.file)


def _verdicts() -> Iterator[Page]:
    from epsball.auditing import meanings
    from epsball.masking.verdict import MEANINGS

    for name, text in meanings.VERDICTS.items():
        yield Page(kind="verdict", name=name, text=text, parts={"of": "an example, in an audit's evidence"})
    for name, text in MEANINGS.items():
        yield Page(kind="verdict", name=name, text=text, parts={"of": "a model, by the diagnosis of gradient masking"})


def _conditions() -> Iterator[Page]:
    from epsball.auditing.gating import Condition
    from epsball.auditing.gating.conditions import NAMES

    for name in NAMES:
        condition = Condition.of(name, 1)
        ends = {"lower": "right and certified", "upper": "right and not broken", "kept": "not newly broken"}
        parts = {"passes by": f"the number of examples that are {ends[condition.passes_on]}"}
        parts |= {"fails by": f"the number of examples that are {ends[condition.fails_on]}"}
        yield Page(kind="condition", name=name, text=f"What passing it says: {condition.meaning}.", parts=parts)


def _mistakes() -> Iterator[Page]:
    for name, mistake in MISTAKES.items():
        told = {"why": mistake.why, "what to do": "\n".join(mistake.fix), "page": f"docs/errors/{name}.md"}
        parts = {title: plain(text) for title, text in told.items()}
        yield Page(kind="mistake", name=name, text=f"{mistake.title}.", parts=parts)


def _errors() -> Iterator[Page]:
    from epsball import errors

    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.EpsballError):
            yield of_docstring("error", name, error, **{"exit code": str(error.exit_code)})


def _exit_codes() -> Iterator[Page]:
    from epsball.cli.exit_codes import EXIT_CODES

    raised: dict[str, list[str]] = {}
    for page in _errors():
        raised.setdefault(page.parts["exit code"], []).append(f"{page.name}: {page.text}")
    for code, words in EXIT_CODES.items():
        text = f"{words[:1].upper()}{words[1:]}."
        yield Page(kind="exit code", name=str(code), text=text, parts={"errors": "\n".join(raised.get(str(code), ()))})


def _columns() -> Iterator[Page]:
    import inspect

    from epsball.auditing import links, meanings
    from epsball.auditing.link import Link
    from epsball.certificates import METHODS

    texts = dict(meanings.COLUMNS)
    texts |= {f"certificate.{method}.margin": meanings.OF_A_METHOD.format(method) for method in METHODS}
    types: dict[str, str] = {}
    for link in vars(links).values():
        if isinstance(link, type) and issubclass(link, Link):
            own = {**link.schema, **link.run_schema}
            types |= own
            texts |= {name: (inspect.getdoc(link) or "").partition("\n\n")[0] for name in own if name not in texts}
    for name, text in texts.items():
        yield Page(kind="column", name=name, text=text, parts={"type": types.get(name, "")})


KINDS: dict[str, Kind] = {
    "attack": Kind(
        what="A search for a point of N(x) that is not classified rightly.",
        tells="A witness it finds is verified: that point lies in N(x) exactly, and the deployed model errs there. "
        "So its accuracy under attack is at least robust accuracy, never less. That it finds none proves nothing: "
        "a search may be weak, or misled (epsball diagnose).",
        pages=_attacks,
    ),
    "objective": Kind(
        what="What a training minimises.",
        tells="It says what is trained for, not what is reached: measure a network by epsball audit.",
        pages=_objectives,
    ),
    "bound": Kind(
        what="A method of certificates: a lower bound of z_p - z_j on N(x), p the predicted class.",
        tells="Above 0 no point of N(x) gets another class: the bound counts every rounding error. That it is not "
        "above 0 does not say that such a point is there, nor does a bound say anything outside N(x).",
        pages=_bounds,
    ),
    "check": Kind(
        what="A question of the diagnosis of gradient masking.",
        tells="A check that fails is a sign that witnesses are hidden from the evaluation, and some checks find "
        "them. That it passes is no proof: only certificates bound robust accuracy from below.",
        pages=_checks,
    ),
    "verdict": Kind(
        what="What is known of an example, or of a model's gradients.",
        tells="broken and certified are final, the rest is what is known at this effort.",
        pages=_verdicts,
    ),
    "condition": Kind(
        what="What a gate asks.",
        tells="The answer is about the examples given, exact or wrong with probability at most alpha; an interval "
        "for their source is printed beside it. What it needs most often is more examples or effort, not another "
        "threshold.",
        pages=_conditions,
    ),
    "mistake": Kind(
        what="A mistake that a message tells of, with its reason and what to do.",
        tells="",
        pages=_mistakes,
    ),
    "error": Kind(
        what="An error that epsball raises on purpose; its message states the fact seen, the rule and the fix.",
        tells="",
        pages=_errors,
    ),
    "exit code": Kind(what="With what a command ends.", tells="", pages=_exit_codes),
    "column": Kind(
        what="A column of an audit's evidence, one entry per example.",
        tells="",
        pages=_columns,
    ),
}
"""The kinds by name, in the order in which they are shown."""


def pages() -> Iterator[Page]:
    """Yield every page."""
    for kind in KINDS.values():
        yield from kind.pages()
