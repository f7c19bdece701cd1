"""FILE.py:NAME for attacks, objectives and bounds: what goes wrong is said, what was loaded is recorded."""

import hashlib

import pytest
import torch

import epsball as eb
from epsball.attacks.registry import files_of, resolve
from epsball.certificates.own_bound import own_bound
from epsball.cli import main
from epsball.errors import EpsballError, InputError
from epsball.models.own_code import own_files

OWN = """
from dataclasses import dataclass, field
import epsball as eb
from beside import SHARE

@dataclass(frozen=True, kw_only=True)
class Nudge(eb.attacks.Attack):
    name = "nudge"
    share: float = SHARE

    def __call__(self, query, ball, *, keys):
        query.logits(query.neighbourhood.project(query.x + self.share * float(ball.radius)))

def factory():
    return Nudge(share=0.25)

class Nameless(eb.attacks.Attack):
    def __call__(self, query, ball, *, keys): ...

class Abstract(eb.attacks.Attack):
    name = "abstract"

@dataclass(kw_only=True)
class Needs:
    name = "needs"
    radius: float
    def __call__(self, query, ball, *, keys): ...

class Fails(eb.attacks.Attack):
    name = "fails"
    def __init__(self):
        1 / 0
    def __call__(self, query, ball, *, keys): ...

class Old:
    name = "old"
    def __call__(self, module, x, y, context):
        return eb.training.Losses(examples=context.cross_entropy(module(x), y))

class Half(eb.training.Adversarial):
    name = "half"
    def search(self, module, x, y, context): ...

@dataclass(frozen=True, kw_only=True)
class Listed:
    name = "listed"
    rates: tuple = field(default_factory=tuple)
    def __call__(self, module, x, y, context):
        return eb.training.Losses(examples=context.cross_entropy(module(x), y))

number = 3

def interval(problem): ...

def bound(problem, *, scale=1.0):
    found = eb.certificates.interval(problem)
    return eb.certificates.LowerBounds(rows=scale * found.rows, boxes=found.boxes)

def rows_only(problem):
    return eb.certificates.interval(problem).rows

def single(problem):
    return eb.certificates.LowerBounds(rows=eb.certificates.interval(problem).rows.float(), boxes={})

def unknown(problem):
    return eb.certificates.LowerBounds(rows=eb.certificates.interval(problem).rows * float("nan"), boxes={})

def without_boxes(problem):
    return eb.certificates.LowerBounds(rows=eb.certificates.interval(problem).rows, boxes={})

def too_good(problem):
    found = eb.certificates.interval(problem)
    return eb.certificates.LowerBounds(rows=found.rows + 100, boxes=found.boxes)

priced = eb.certificates.Method(bound=bound, passes=lambda rows: 7)
replayed = eb.certificates.Method(bound=bound, replay=eb.certificates.ReplayPlan())
"""
CLASSIFIER = eb.Classifier(torch.nn.LeakyReLU())
X, Y = torch.tensor([[0.8, 0.3], [0.4, 0.5]]), torch.tensor([0, 1])
BALL = eb.Ball("linf", "1/10")


@pytest.fixture
def own(tmp_path):
    (tmp_path / "beside.py").write_text("SHARE = 0.5\n")
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def certified(method):
    return eb.certify(CLASSIFIER, X, Y, BALL, method=method, semantics="real")


def trained(objective, tmp_path=None):
    recipe = eb.training.Recipe(epochs=1, batch_size=9)
    x = torch.linspace(0, 1, 40).view(20, 2)
    data = x, (x[:, 0] > 0.5).long()
    return eb.train(torch.nn.Linear(2, 2), data, objective=objective, recipe=recipe, folder=tmp_path)


def test_an_attack_takes_options_as_the_registered_ones_do(own):
    assert resolve(f"{own}:Nudge").share == 0.5
    assert resolve(f"{own}:Nudge,share=1").share == 1.0
    assert resolve(f"{own}:factory,share=2").share == 2.0
    result = eb.attack(CLASSIFIER, X, Y, BALL, method=f"{own}:Nudge")
    assert result.ledger.summary()["nudge"] == (2, 2, 0)
    assert list(result.own_files) == ["own.py", "beside.py"]
    assert result.own_files == result.to_json()["own_files"]


def test_files_beside_it_that_it_imports_are_recorded_and_a_change_is_seen(own):
    first = own_files(resolve(f"{own}:Nudge"))
    assert first == {name: hashlib.sha256((own.parent / name).read_bytes()).hexdigest() for name in first}
    assert resolve(f"{own}:Nudge") == resolve(f"{own}:Nudge")
    (own.parent / "beside.py").write_text("SHARE = 0.75\n")
    second = resolve(f"{own}:Nudge")
    assert second.share == 0.75
    assert own_files(second)["own.py"] == first["own.py"]
    assert own_files(second)["beside.py"] != first["beside.py"]
    surrogate = eb.attacks.Transfer(surrogate=CLASSIFIER, method=f"{own}:Nudge")
    assert files_of(surrogate) == own_files(second)
    assert own_files(resolve("pgd")) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("own.py", "say which attack"),
        ("none.py:Nudge", "no file"),
        ("own.py:Nudg", "Did you mean 'Nudge'"),
        ("own.py:number", "no function 'number'"),
        ("own.py:Nameless", "is not an attack"),
        ("own.py:Old", "is not an attack"),
        ("own.py:bound", "cannot be made"),
        ("own.py:Needs", "missing a required argument: 'radius'"),
        ("own.py:Abstract", "abstract"),
        ("own.py:Fails", "ZeroDivisionError"),
        ("own.py:Nudge,sharp=1", "Did you mean 'share'"),
        ("broken.py:Nudge", "broken.py, line 1: SyntaxError"),
    ],
)
def test_what_is_wrong_with_an_attack_is_named(text, words, own, monkeypatch):
    monkeypatch.chdir(own.parent)
    (own.parent / "broken.py").write_text("def (:\n")
    with pytest.raises(InputError) as error:
        resolve(text)
    assert words in str(error.value)
    assert "model" not in str(error.value)


def test_an_objective_need_not_inherit_or_be_a_dataclass(own, as_users_run):
    card = trained(f"{own}:Old").card
    assert card.training["objective"] == {"name": "old", "files": own_files(resolve(f"{own}:Nudge"))}
    assert trained(f"{own}:Listed").card.training["objective"]["rates"] == "()"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Nudge", "not a class of objectives"),
        ("bound", "not a class of objectives"),
        ("Half", "abstract"),
        ("Old,rate=1", "takes no rate; it takes no options"),
        ("Olds", "Did you mean 'Old'"),
    ],
)
def test_what_is_wrong_with_an_objective_is_named(name, words, own):
    with pytest.raises(InputError, match=words):
        eb.training.resolve(f"{own}:{name}", None)


def test_a_bound_has_options_and_a_cost(own):
    interval = certified("interval").margin
    found = certified(f"{own}:bound")
    assert found.margin.equal(interval)
    assert found.method == tuple("bound" if stable else None for stable in found.stable)
    assert found.own_files == {"bound": own_files(resolve(f"{own}:Nudge"))}
    assert certified(f"{own}:bound,scale=0.5").margin.equal(0.5 * interval)
    assert certified(f"{own}:priced").passes.tolist() == [7, 7]
    assert certified(eb.certificates.Method(bound=lambda problem: eb.certificates.interval(problem))).accuracy == 0.5


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("Nudge", InputError, "is not a bound"),
        ("interval", InputError, "name of the registered method"),
        ("bound,scale=a", InputError, "not a number"),
        ("bounds", InputError, "Did you mean 'bound'"),
        ("replayed", InputError, "checker does not know"),
        ("rows_only", InputError, "returned a Tensor"),
        ("single", InputError, "float64"),
        ("unknown", InputError, "NaN"),
        ("without_boxes", InputError, "no bounds on the logits"),
        ("too_good", eb.SoundnessError, "has the margin"),
    ],
)
def test_what_is_wrong_with_a_bound_is_named(name, error, words, own):
    with pytest.raises(EpsballError, match=words) as raised:
        eb.certify(CLASSIFIER, X, Y, BALL, method=f"{own}:{name}")
    assert isinstance(raised.value, error)
    assert own_bound("crown") is None


def test_an_attack_that_fails_on_the_way_is_named_by_file_and_line(own, capsys):
    content = OWN.replace("query.logits(", "query.logitz(")
    own.write_text(content)
    assert main(["attack", "mlp", "digits,first=4", "--ball", "linf:0.1", "--method", f"{own}:Nudge"]) == 2
    line = content[: content.index("query.logitz")].count("\n") + 1
    assert f"{own}, line {line}: AttributeError" in capsys.readouterr().err
