"""A model card as Hugging Face reads it: YAML front matter with ``model-index``, then a table with the evidence."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from epsball.auditing.exporting.field import Field
from epsball.auditing.exporting.forms.sections import table

METRICS = {
    "natural accuracy": "accuracy",
    "accuracy under attack": "adversarial_accuracy",
    "certified accuracy": "certified_accuracy",
}
"""The numbers that stand in the index, and the types of metric they are given."""

_BODY = (
    "natural accuracy", "accuracy under attack", "certified accuracy", "robust accuracy",
    "natural accuracy, worst class", "accuracy under attack, worst class", "certified accuracy, worst class",
    "1 - optimal adversarial risk", "undecided", "invalid", "diagnosis", "power of the attack", "perturbation set",
    "attack", "arithmetic", "examples", "model hash", "data hash", "manifest", "tool",
    "relevance", "corruptions and faults", "training-data poisoning", "confidentiality",
)  # fmt: skip


def model_card(fields: Mapping[str, Field]) -> str:
    """Return the card. A number that was not measured is not in the index, and the table says so."""
    head = yaml.safe_dump(
        {"tags": ["adversarial-robustness"], "model-index": [_index(fields)]}, sort_keys=False, allow_unicode=True
    )
    name, ball = fields["system"].text, fields["perturbation set"].text
    data = _without_folders(fields["data"].text)
    lines = [
        f"# Robustness of {_line(name)}",
        "",
        f"Measured within {ball} on {fields['examples'].text} examples of {data}. Every value "
        "names the files and rows of the run it stands on; what was not measured says so.",
        "",
        *table([fields[name] for name in _BODY]),
        "",
    ]
    return f"---\n{head}---\n" + "\n".join(lines)


def _index(fields: Mapping[str, Field]) -> dict[str, Any]:
    shape, data = fields["input shape"], fields["data"]
    pictures = shape.value is not None and len(str(shape.value.value).split(" x ")) == 3
    task = "image-classification" if pictures else "tabular-classification"
    named = data.value is not None
    dataset: dict[str, Any] = {"type": _slug(data.text) if named else "unknown", "name": _without_folders(data.text)}
    split = re.search(r"split=([\w-]+)", data.text)
    dataset |= {"split": split[1]} if split else {}
    dataset |= {"revision": fields["data hash"].text} if fields["data hash"].value is not None else {}
    metrics = [_metric(fields, name) for name in METRICS if fields[name].value is not None]
    results = [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}]
    return {"name": _line(fields["system"].text), "results": results}


def _metric(fields: Mapping[str, Field], name: str) -> dict[str, Any]:
    field = fields[name]
    entry = field.to_json()
    title = name if name == "natural accuracy" else f"{name} within {fields['perturbation set'].text}"
    args = {key: entry[key] for key in ("interval 95%", "count", "of") if key in entry}
    args["evidence"] = [f"{pointer} {pointer.sha256}" for pointer in field.evidence]
    return {"type": METRICS[name], "name": title, "value": entry["value"], "args": args, "verified": False}


def _slug(text: str) -> str:
    """Return what stands for a data set as an identifier: its kind and the last part of its path."""
    kind, _, path = text.partition(",")[0].partition(":")
    last = path.rstrip("/").rpartition("/")[2] or kind
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-") or "data"


def _without_folders(text: str) -> str:
    """Return the name of a data set on one line, without the folders of the machine it lay on."""
    kind, colon, path = _line(text).partition(":")
    source, comma, options = path.partition(",")
    return f"{kind}{colon}{source.rstrip('/').rpartition('/')[2]}{comma}{options}"


def _line(text: str) -> str:
    return " ".join(text.split())
