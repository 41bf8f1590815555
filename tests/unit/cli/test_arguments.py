"""What is typed is read, or refused with the way to write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.cli.arguments import assignments, cell_options, existing_notebook, parameter_file, step_options
from nbkube.errors import NbkubeError, NotFoundError


def test_assignments_keep_everything_after_the_first_equals() -> None:
    assert assignments(["a=1", " b =x=y", "c="], "-p") == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("text", ["a", "=1", " =1", ""])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(NbkubeError, match="NAME=VALUE"):
        assignments([text], "-p")


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(NbkubeError, match="given twice"):
        assignments(["a=1", "a=2"], "-p")


def test_step_options_collect_by_step() -> None:
    texts = ["train.memory=4Gi", "train.env=A=1", "train.env=B=2", "train.2.cpu=1"]
    assert step_options(texts) == {"train": {"memory": "4Gi", "env": ["A=1", "B=2"]}, "train.2": {"cpu": "1"}}
    assert cell_options(["memory=4Gi", "env=A=b.c"]) == {"memory": "4Gi", "env": "A=b.c"}


@pytest.mark.parametrize("text", ["memory=4Gi", "train.memory", ".memory=1", "train.=1", ""])
def test_what_is_no_step_option_is_refused(text: str) -> None:
    with pytest.raises(NbkubeError, match="STEP.OPTION=VALUE"):
        step_options([text])


def test_parameter_files(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"epochs": 5, "names": ["a"]}')
    (tmp_path / "p.toml").write_text('epochs = 5\nnames = ["a"]\n')
    assert parameter_file(None) == {}
    assert parameter_file(tmp_path / "p.json") == parameter_file(tmp_path / "p.toml") == {"epochs": 5, "names": ["a"]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", b"{", "cannot be read"),
        ("p.json", b"[1]", "holds no names"),
        ("p.json", b"\xff\xfe", "cannot be read"),
        ("p.toml", b"a = ", "cannot be read"),
        ("p.toml", b"\xff", "cannot be read"),
        ("p.yaml", b"a: 1", "use .json or .toml"),
    ],
)
def test_bad_parameter_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NbkubeError, match=message):
        parameter_file(tmp_path / name)


def test_a_missing_parameter_file(tmp_path: Path) -> None:
    with pytest.raises(NbkubeError, match="No such file"):
        parameter_file(tmp_path / "none.json")


def test_a_mistyped_notebook_names_what_looks_alike(tmp_path: Path) -> None:
    (tmp_path / "digits.ipynb").touch()
    (tmp_path / "other.ipynb").touch()
    assert existing_notebook(tmp_path / "digits.ipynb") == tmp_path / "digits.ipynb"
    with pytest.raises(NotFoundError, match=r"did you mean .*digits\.ipynb\?"):
        existing_notebook(tmp_path / "digit.ipynb")
    with pytest.raises(NotFoundError, match=r"choose one of .*digits\.ipynb, .*other\.ipynb"):
        existing_notebook(tmp_path / "zzz.ipynb")
    with pytest.raises(NotFoundError, match="no folder"):
        existing_notebook(tmp_path / "nowhere" / "digits.ipynb")
