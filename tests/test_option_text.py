import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsball.errors import InputError
from epsball.option_text import read_options, split_options


@pytest.mark.parametrize(
    ("text", "head", "options"),
    [
        ("digits", "digits", {}),
        ("idx:a folder,split=test,first=1000", "idx:a folder", {"split": "test", "first": "1000"}),
        ("net,mean=0.1,0.2,0.3,std=1,1,1", "net", {"mean": "0.1,0.2,0.3", "std": "1,1,1"}),
        ("npz:a,b.npz", "npz:a,b.npz", {}),
        ("npz:k=v/x.npz", "npz:k=v/x.npz", {}),
        ("digits, first = 10 ", "digits", {"first": "10"}),
        ("m.py:net@w.pt,width=2", "m.py:net@w.pt", {"width": "2"}),
        ("d,indices=a=b.txt", "d", {"indices": "a=b.txt"}),
    ],
)
def test_examples_of_the_grammar(text: str, head: str, options: dict[str, str]) -> None:
    assert split_options(text) == (head, options)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "has nothing before its options"),
        ("  ,first=3", "has nothing before its options"),
        ("digits,first=", "option 'first' in 'digits,first=' has no value"),
        ("digits,first=,split=test", "option 'first'"),
        ("digits,first=3,first=4", "option 'first' is given twice"),
    ],
)
def test_refusals_name_the_text_and_the_rule(text: str, fact: str) -> None:
    with pytest.raises(InputError) as refusal:
        split_options(text)
    assert fact in str(refusal.value)


keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
values = st.lists(st.text("abc019./:@-", min_size=1, max_size=6), min_size=1, max_size=3).map(",".join)


@given(head=st.text("abz:/.@", min_size=1, max_size=9), options=st.dictionaries(keys, values, max_size=4))
def test_joined_options_are_split_again(head: str, options: dict[str, str]) -> None:
    text = ",".join([head, *(f"{key}={value}" for key, value in options.items())])
    assert split_options(text) == (head, options)


def test_options_of_what_has_none_are_refused() -> None:
    with pytest.raises(InputError, match="the objective 'standard' takes no steps"):
        read_options("the objective 'standard'", {}, {"steps": "3"})
