"""Run folders written by hand: what a page must cope with, without an audit."""

import json

import numpy as np
import pyarrow
from safetensors.numpy import save_file

from epsball.results import arrow_bytes

IDENTITY = {
    "network": "sha256:n",
    "dtype": "torch.float32",
    "device": "cpu",
    "box": [0.0, 1.0],
    "stochastic": False,
    "data": "sha256:d",
    "ball": "linf:8/255",
    "links": {},
    "seed": 0,
    "shard": 1000,
    "epsball": "0.1.0",
}

RADII = ("1/255", "2/255", "4/255")

HOSTILE = (
    *("<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "<!--", "-->", "]]>", "${7*7}", "{{7*7}}"),
    *("{% raw %}", "javascript:alert(1)", "'; DROP TABLE x; --", '" onmouseover="alert(1)', "' onfocus='alert(1)"),
    *("<svg/onload=alert(1)>", "<style>*{display:none}</style>", "</style>", "</title>", "<base href=//x>"),
    *("<meta http-equiv=refresh content=0>", "&lt;b&gt;", "&#60;b&#62;", "\\u003cscript\\u003e", "\u2028\u2029"),
    *("\u202egnp.exe", "\u200b", "$x^2$", "$\\frac", "\\", "%00", "../../etc/passwd", "file:///etc/passwd", "a" * 200),
    *("ネコ", "кошка", "قطة", "חתול", "बिल्ली", "แมว", "猫" * 60, "👩‍👩‍👧", "e\u0301"),
)
"""Names of classes, each of which must come out as text; 40 of them."""


def write_run(folder, verdicts, *, labels=None, names=None, margins=None, finished=True, certificates=True, **more):
    """Write a run of examples with these verdicts; `more` are further columns, and `shape` and `identity`."""
    folder.mkdir(parents=True, exist_ok=True)
    n, shape = len(verdicts), more.pop("shape", (1, 4, 4))
    identity = IDENTITY | more.pop("identity", {})
    labels = list(labels) if labels is not None else [k % 2 for k in range(n)]
    verdict = np.array(verdicts, dtype=object)
    margins = np.where(verdict == "misclassified", -0.5, 0.5) if margins is None else margins
    columns = {
        "index": pyarrow.array(range(n), pyarrow.int64()),
        "label": pyarrow.array(labels, pyarrow.int64()),
        "prediction": pyarrow.array(labels, pyarrow.int64()),
        "verdict": pyarrow.array(list(verdicts), pyarrow.string()),
        "invalid.reason": pyarrow.array(["NaN" if v == "invalid" else None for v in verdicts], pyarrow.string()),
        "natural.margin": pyarrow.array(margins, pyarrow.float64(), from_pandas=True),
        "natural.correct": pyarrow.array([v not in ("misclassified", "invalid") for v in verdicts], pyarrow.bool_()),
        "natural.failed": pyarrow.array([v == "invalid" for v in verdicts], pyarrow.bool_()),
        "attack.broken": pyarrow.array([v == "broken" for v in verdicts], pyarrow.bool_()),
        "attack.by": pyarrow.array(["pgd-3" if v == "broken" else None for v in verdicts], pyarrow.string()),
    }
    if certificates:
        columns["certificate.certified"] = pyarrow.array([v == "certified" for v in verdicts], pyarrow.bool_())
    table = pyarrow.table({**columns, **more})
    (folder / "evidence-00000.arrow").write_bytes(arrow_bytes(table))
    broken = np.flatnonzero(verdict == "broken").astype(np.int64)
    x = np.full((len(broken), *shape), 0.5, dtype=np.float32)
    points = {"index": broken, "x": x, "x_adv": x + np.float32(8 / 255)}
    save_file(points, folder / "witnesses-00000.safetensors")
    run = {"identity": identity, "probe": [], "schema": 2, "about": {"data": "by hand"}}
    (folder / "run.json").write_text(json.dumps(run))
    about = {"command": None, "model": "Net", "examples": n, "class names": names, "classes": len(names or [0, 1])}
    (folder / "about.json").write_text(json.dumps(about))
    if finished:
        (folder / "chain.json").write_text(json.dumps({"places": {}, "total": n}))
    return folder


def write_series(folder, radii=RADII, *, norm="linf", network="sha256:n"):
    """Write a finished run per radius; the larger, the more is broken."""
    for number, radius in enumerate(radii):
        identity = {"ball": f"{norm}:{radius}", "network": network}
        run = write_run(
            folder / f"{norm}-{radius.replace('/', '_')}",
            ["broken"] * number + ["certified"] * (8 - number),
            identity=identity,
        )
        place = {"value": 1 - number / 8, "interval": {"low": 0.2, "high": 1.0}}
        places = dict.fromkeys(("accuracy under attack", "certified accuracy"), place)
        (run / "chain.json").write_text(json.dumps({"places": places, "total": 8}))
    return folder
