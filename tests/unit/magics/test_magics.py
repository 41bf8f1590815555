from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell

import nbkube
from tests.unit.documents import code, document, written


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    shell.run_cell("%load_ext nbkube")
    yield shell
    shell.run_cell("%unload_ext nbkube")
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def _run(shell: InteractiveShell, source: str) -> ExecutionResult:
    return shell.run_cell(source, store_history=True)


def test_the_cell_runs_as_if_the_line_were_not_there(shell: InteractiveShell) -> None:
    result = _run(shell, "%%step train --cpu 2 --timeout 1h\nx = 41\nx + 1")
    assert result.result == 42
    assert shell.user_ns["x"] == 41
    assert shell.user_ns["Out"][result.execution_count] == 42
    assert shell.user_ns["_"] == 42


def test_await_at_the_top_level_works(shell: InteractiveShell) -> None:
    assert _run(shell, "%%step train\nimport asyncio\nawait asyncio.sleep(0)\n7").result == 7


def test_a_cell_magic_below_the_line_works(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(shell, "%%step train\n%%capture out\nprint('caught')").success
    assert shell.user_ns["out"].stdout == "caught\n"
    assert "caught" not in capsys.readouterr().out


def test_the_line_works_below_another_cell_magic(shell: InteractiveShell) -> None:
    assert _run(shell, "%%capture out\n%%step train\ny = 3").success
    assert shell.user_ns["y"] == 3


def test_line_numbers_of_errors_stay(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    result = _run(shell, "%%step train\nx = 1\n1 / 0")
    assert isinstance(result.error_in_exec, ZeroDivisionError)
    assert "line 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train --memory 4GiB", "Fix: write 4Gi"),
        ("train --memry 4Gi", "did you mean memory?"),
        ("Train", "Fix: write train"),
        ("--cpu 2", "the line names no step"),
        ("train --env 'A=1", "close the quote"),
    ],
)
def test_a_faulty_line_stops_the_cell(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    result = _run(shell, f"%%step {line}\nz = 1")
    assert not result.success
    assert "z" not in shell.user_ns
    shown = capsys.readouterr()
    assert says in shown.out + shown.err
    assert "Traceback" not in shown.out + shown.err


def test_other_cells_are_left_alone(shell: InteractiveShell) -> None:
    source = "a = '''\n%%step nothing here --cpu x\n'''"
    assert _run(shell, source).success
    assert shell.user_ns["a"] == "\n%%step nothing here --cpu x\n"


def test_loading_twice_and_unloading(shell: InteractiveShell) -> None:
    transforms = shell.input_transformer_manager.cleanup_transforms
    before = len(transforms)
    _run(shell, "%reload_ext nbkube")
    assert len(transforms) == before
    _run(shell, "%unload_ext nbkube")
    assert len(transforms) == before - 1
    assert not _run(shell, "%%step train\n1").success


def test_the_extension_is_found_on_the_package() -> None:
    assert callable(nbkube.load_ipython_extension)
    assert callable(nbkube.unload_ipython_extension)


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    return written(tmp_path, document(code("n = 1  # size", "parameters"), code("print(n)", "step:a")))


def test_commands_run_on_this_notebook(
    shell: InteractiveShell, notebook: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    shell.user_ns["size"] = 7
    assert _run(shell, "%nbkube check -p n={size}").success
    assert "ready to run" in capsys.readouterr().out


def test_commands_run_on_a_notebook_that_is_named(
    shell: InteractiveShell, notebook: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(shell, f"%nbkube show {notebook} --json").success
    assert '"name":"notebook"' in capsys.readouterr().out.replace(" ", "")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("check", "this notebook's file is not known"),
        ("check none.ipynb", "ended with exit code 2"),
        ("check 'a", "close the quote"),
    ],
)
def test_commands_that_fail_say_why(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert not _run(shell, f"%nbkube {line}").success
    shown = capsys.readouterr()
    assert says in shown.out + shown.err
    assert "Traceback" not in shown.out + shown.err


def test_a_kernel_gets_html_beside_the_text(
    shell: InteractiveShell, notebook: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(shell), "kernel", object(), raising=False)
    shown: list[dict[str, str]] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    _run(shell, "%load_ext nbkube")
    _run(shell, f"%nbkube show {notebook}")
    [bundle] = shown
    assert "step" in bundle["text/plain"]
    assert "<svg" in bundle["text/html"]
    assert "<script" not in bundle["text/html"]


def test_runs_logs_and_resources_in_a_real_kernel(tmp_path: Path) -> None:
    """What a run shows is drawn anew in one place; text stands beside all HTML."""
    import nbformat
    from nbclient import NotebookClient

    (tmp_path / "nbkube.toml").touch()
    steps = [code("x = 1\nprint('<b>made</b>')", "step:make"), code("1 / 0", "step:break")]
    path = written(tmp_path, document(*steps))
    lines = [
        "%load_ext nbkube",
        f"%nbkube run {path.name}",
        "%nbkube logs last make",
        "%nbkube resources",
        "%nbkube run nope.ipynb",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(line) for line in lines])
    NotebookClient(book, timeout=120, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}).execute()
    ran, logs, resources, wrong = (cell.outputs for cell in book.cells[1:])
    [drawn] = [one.data for one in ran if "data" in one]
    assert "<table>" in drawn["text/html"]
    assert "Failed" in drawn["text/html"]
    assert "ZeroDivisionError" in drawn["text/plain"]
    assert "%nbkube run ended with exit code 1" in "".join(one.get("text", "") for one in ran)
    [shown] = [one.data for one in logs if "data" in one]
    assert "&lt;b&gt;made&lt;/b&gt;" in shown["text/html"]
    assert shown["text/plain"] == "<b>made</b>\n"
    [room] = [one.data for one in resources if "data" in one]
    assert "CPUs" in room["text/html"]
    assert "CPUs" in room["text/plain"]
    assert "nope.ipynb" in "".join(one.get("text", "") for one in wrong)
    assert not any("html" in str(one.get("data")) for one in wrong)
