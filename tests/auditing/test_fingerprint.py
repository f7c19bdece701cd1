import json

import pytest

import epsball as eb
from auditing.cases import BALL, case
from epsball import Classifier, InputError
from epsball.attacks import PGD
from epsball.attacks.registry import resolve
from epsball.auditing.fingerprint import describe, identity
from epsball.auditing.folder import RunFolder
from epsball.auditing.links import AttackLink
from epsball.auditing.subject import Subject
from helpers import Wrapped, mlp


def test_runs_that_differ_in_what_decides_them_are_distinguished(tmp_path):
    _, x, y = case(20)
    data = eb.data.load((x, y))

    def run(name, *, net=None, method="fgsm", **options):
        subject = Subject.of(Classifier(net or mlp(), **options), data, BALL, 0)
        RunFolder(tmp_path / name, describe(subject, {"attack": identity(AttackLink(method=resolve(method)))}, 1000))

    def scaled(scale):
        return lambda logits, labels: scale * eb.attacks.losses.cross_entropy(logits, labels)

    run("loss", method=PGD(steps=2, loss=scaled(1.0)))
    run("loss", method=PGD(steps=2, loss=scaled(1.0)))
    with pytest.raises(InputError, match="links.attack.method"):
        run("loss", method=PGD(steps=2, loss=scaled(2.0)))
    run("start", method=PGD(steps=2, start=x))
    with pytest.raises(InputError, match="links.attack.method"):
        run("start", method=PGD(steps=2, start=x.flip(0)))
    run("noise", stochastic=True, repetitions=2)
    with pytest.raises(InputError, match="stochastic: there 2, now 3"):
        run("noise", stochastic=True, repetitions=3)
    run("code", net=Wrapped(lambda m, x: m(x), mlp()))
    with pytest.raises(InputError, match="the model's code"):
        run("code", net=Wrapped(lambda m, x: -m(x), mlp()))


def test_functions_that_differ_in_a_constant_a_name_or_a_default_are_distinguished():
    functions = [
        lambda z, y: 1.5 * z.sum(1),
        lambda z, y: -1.5 * z.sum(1),
        lambda z, y: 1.5 * z.mean(1),
        lambda z, y, k=1: 1.5 * z.sum(1),
        lambda z, y, k=2: 1.5 * z.sum(1),
    ]
    forms = [json.dumps({**identity(f), "function": ""}) for f in functions]
    assert len(set(forms)) == 5
    assert identity(functions[0]) == identity(functions[0])
