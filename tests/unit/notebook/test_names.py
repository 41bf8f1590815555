from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.notebook.names import BadNameError, slug, step_name


@pytest.mark.parametrize("name", ["a", "train", "train-2", "1", "0-a", "a" * 63])
def test_labels_are_names(name: str) -> None:
    assert step_name(name) == name


@pytest.mark.parametrize(("text", "name"), [("create_matrix", "create-matrix"), ("_load", "load"), ("a__b", "a--b")])
def test_underscores_of_kale_are_read_as_dashes(text: str, name: str) -> None:
    assert step_name(text) == name


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("Train", "upper-case", "write train"),
        ("a" * 64, "longer than 63", "write aaa"),
        ("train-", "starts or ends with a dash", "write train"),
        ("-train", "starts or ends with a dash", "write train"),
        ("tra in", "holds ' '", "write tra-in"),
        ("tra.in", "holds '.'", "write tra-in"),
        ("prüfen", "holds 'ü'", "write prufen"),
        ("训练", "holds '训'", "use letters a-z"),
        ("train\n", "white space around", "write train"),
        ("", "needs a name", "write step:NAME"),
        ("skip", "tag of its own", "use the tag skip"),
        ("imports", "tag of its own", "use the tag imports"),
    ],
)
def test_what_is_wrong_with_a_name_and_what_to_write(text: str, says: str, hint: str) -> None:
    with pytest.raises(BadNameError, match=re.escape(says)) as caught:
        step_name(text)
    assert hint in caught.value.hint


@given(st.text(max_size=80))
def test_every_text_is_a_label_or_refused(text: str) -> None:
    hint = ""
    try:
        name = step_name(text)
    except BadNameError as error:
        hint = error.hint
    assert hint or re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name)


@given(st.text(max_size=100))
def test_a_suggested_name_is_a_label(text: str) -> None:
    assert re.fullmatch("([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?", slug(text))
