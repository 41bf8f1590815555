"""Cells behave as in a Jupyter kernel."""

from __future__ import annotations

import nbformat
import pytest

from nbkube.runtime.program import CellProgram, ReplayProgram
from tests.unit.runtime.trial import Trial


def test_outputs_keep_their_order_and_make_a_valid_notebook(trial: Trial) -> None:
    done = trial.good(
        "import sys, os\n"
        "print('a')\nprint('b', file=sys.stderr)\nprint('c', end='')\n"
        "from IPython.display import display, HTML\ndisplay(HTML('<i>d</i>'))\n"
        "!echo e\n"
        "os.write(1, b'f\\n'); print('g')\n"
        "import subprocess; subprocess.run(['echo', 'h'])\n"
        "40 + 2",
        "print('second')",
    )
    kinds = [(one["output_type"], one.get("name"), one.get("text")) for one in done.outputs(1)]
    assert kinds[:4] == [
        ("stream", "stdout", "a\n"),
        ("stream", "stderr", "b\n"),
        ("stream", "stdout", "c"),
        ("display_data", None, None),
    ]
    assert kinds[4] == ("stream", "stdout", "e\nf\ng\nh\n")
    assert done.value(1) == "42"
    assert done.text(2) == "second\n"
    assert done.notebook["cells"][0]["execution_count"] == 1
    nbformat.validate(nbformat.from_dict(done.notebook))


def test_what_c_code_prints_belongs_to_its_cell(trial: Trial) -> None:
    done = trial.good("import ctypes\nlibc = ctypes.CDLL(None)\n_ = libc.printf(b'from C\\n')", "print('next')")
    assert done.text(1) == "from C\n"
    assert done.text(2) == "next\n"


def test_nothing_printed_can_pose_as_an_event(trial: Trial) -> None:
    forged = '{"event":"result","result":{"metrics":{"m":1}}}'
    done = trial.good(f"print('''{forged}''')\nprint('\\x1e0123E1\\x1e', '\\x1e' * 3)\n!printf '\\036abcE7\\036'")
    assert forged in done.text(1)
    assert "\x1e0123E1\x1e \x1e\x1e\x1e\n\x1eabcE7\x1e" in done.text(1)
    assert done.finished.result.metrics == {}


def test_text_that_is_no_utf8_and_split_characters(trial: Trial) -> None:
    done = trial.good(
        "import os, time\nos.write(1, b'\\xe2\\x82')\ntime.sleep(0.05)\nos.write(1, b'\\xac \\xff\\n')\n"
        "print('\\ud800')"
    )
    assert done.text(1) == "€ �\n\\ud800\n"


def test_a_very_talkative_cell_is_cut_in_the_notebook_and_whole_in_the_log(trial: Trial) -> None:
    done = trial.good("for i in range(120_000):\n    print('x' * 49)")
    assert len(done.log) == 120_000 * 50
    assert len(done.text(1)) < 5_000_000
    assert done.text(1).endswith("[more in the step's log]\n")


def test_displays_can_be_updated_and_cleared(trial: Trial) -> None:
    done = trial.good(
        "from IPython.display import display, clear_output\nh = display('one', display_id='k')\nprint('stays')",
        "h.update('two')\nprint('gone')\nclear_output()\nprint('left')",
        "print('first')\nclear_output(wait=True)\nprint('second')",
    )
    assert done.outputs(1)[0]["data"]["text/plain"] == "'two'"
    assert done.text(2) == "left\n"
    assert done.text(3) == "second\n"


def test_errors_name_cell_and_line(trial: Trial) -> None:
    done = trial.run(
        "def broken(x):\n    return 1 / x", CellProgram(7, 2, "abc", "a = 1\nbroken(0)", first_line=3), "print('never')"
    )
    failure = done.failure
    assert (failure.kind, failure.cell, failure.cell_id, failure.line) == ("error", 7, "abc", 4)
    assert (failure.type, failure.message, failure.exit_code) == ("ZeroDivisionError", "division by zero", 1)
    assert "cell 7" in failure.traceback
    assert "cell 1" in failure.traceback
    assert "return 1 / x" in failure.traceback
    assert "\x1b" not in failure.traceback
    error = done.notebook["cells"][1]["outputs"][-1]
    assert (error["output_type"], error["ename"]) == ("error", "ZeroDivisionError")
    assert done.notebook["cells"][2]["outputs"] == []
    assert done.finished.result.failure == failure


def test_syntax_errors_name_the_line(trial: Trial) -> None:
    failure = trial.run("\n \nx = 1\ny = = 2").failure
    assert (failure.kind, failure.type, failure.cell, failure.line) == ("error", "SyntaxError", 1, 4)


def test_plain_tracebacks_and_warnings_name_the_cell(trial: Trial) -> None:
    done = trial.good(
        "import traceback, warnings\ntry:\n    1/0\nexcept ZeroDivisionError:\n    print(traceback.format_exc())\n"
        "warnings.warn('mind')"
    )
    assert 'File "note.ipynb:cell 1", line 3' in done.text(1)
    assert "note.ipynb:cell 1:6: UserWarning: mind" in done.text(1, "stderr")


def test_raises_exception_goes_on(trial: Trial) -> None:
    done = trial.good(CellProgram(1, 1, "a", "1/0", raises=True), "print('on')")
    assert done.outputs(1)[0]["ename"] == "ZeroDivisionError"
    assert done.text(2) == "on\n"


@pytest.mark.parametrize("code", ["exit()", "quit()", "import sys; sys.exit(75)", "raise SystemExit('bye')", "exit"])
def test_leaving_is_a_failure(trial: Trial, code: str) -> None:
    failure = trial.run("print('hi')", code).failure
    assert (failure.kind, failure.exit_code, failure.cell) == ("exit", 1, 2)


@pytest.mark.parametrize("code", ["input('Name? ')", "import getpass; getpass.getpass('Name? ')"])
def test_asking_for_input_is_a_failure_that_names_the_cell(trial: Trial, code: str) -> None:
    failure = trial.run(code).failure
    assert (failure.kind, failure.cell) == ("input", 1)
    assert "Name?" in failure.message


def test_standard_input_is_empty(trial: Trial) -> None:
    done = trial.good("import sys\nprint(repr(sys.stdin.read()))\n!cat; echo end")
    assert done.text(1) == "''\nend\n"


def test_one_event_loop_for_all_cells(trial: Trial) -> None:
    done = trial.good(
        "import asyncio\nseen = []\nasync def work():\n    await asyncio.sleep(0.01)\n    seen.append('task')\n"
        "task = asyncio.create_task(work())",
        "await task\nloop = asyncio.get_running_loop()\nseen",
        "try:\n    asyncio.run(work())\nexcept RuntimeError as error:\n    print(error)",
        "async with asyncio.timeout(1):\n    pass\nloop is asyncio.get_running_loop()",
    )
    assert done.value(2) == "['task']"
    assert "cannot be called from a running event loop" in done.text(3)
    assert done.value(4) == "True"


def test_work_started_and_not_awaited_is_finished_before_the_step_ends(trial: Trial) -> None:
    done = trial.good(
        "import asyncio, threading, time\n"
        "async def later():\n    await asyncio.sleep(0.1)\n    print('task done', flush=True)\n"
        "def slow():\n    time.sleep(0.2)\n    open('thread.txt', 'w').write('x')\n"
        "threading.Thread(target=slow).start()\nt = asyncio.create_task(later())"
    )
    assert "task done" in done.log
    assert [entry.path for entry in done.finished.diff.changed] == ["thread.txt"]


def test_flags_extensions_and_history_last_over_cells(trial: Trial) -> None:
    done = trial.good(
        "from __future__ import annotations",
        "def f(x: NotThere): pass\nf.__annotations__",
        CellProgram(9, 5, "x", "21 * 2"),
        CellProgram(10, 6, "y", "_ + 1, Out[5], _5, In[5]"),
    )
    assert done.value(2) == "{'x': 'NotThere'}"
    assert done.value(4) == "(43, 42, 42, '21 * 2')"
    assert done.notebook["cells"][2]["execution_count"] == 5


def test_replayed_statements_run_first_and_silently(trial: Trial) -> None:
    replay = (
        ReplayProgram("from __future__ import annotations", "future", cell=1, line=1),
        ReplayProgram("import math as m", cell=1, line=2),
        ReplayProgram("print('noise'); import json", cell=2, line=4),
    )
    done = trial.good("def f(x: Nope): pass\nm.floor(2.5), json.dumps(1)", replay=replay)
    assert done.value(1) == "(2, '1')"
    assert "noise" not in done.log
    failed = trial.run("1", replay=(ReplayProgram("import nothing_such", cell=3, line=5),)).failure
    assert (failed.kind, failed.cell, failed.line, failed.type) == ("error", 3, 5, "ModuleNotFoundError")


def test_source_and_main_module(trial: Trial) -> None:
    done = trial.good(
        "def f():\n    return 'original text'  # comment\n",
        "import inspect, __main__, sys, pickle, types\nprint(inspect.getsource(f))\n"
        "print(__main__.f is f, sys.modules['__main__'].__dict__['f'] is f, __name__, f.__module__)\n"
        "print(pickle.loads(pickle.dumps(f)) is f, isinstance(__main__, types.ModuleType))\n"
        "__main__.fresh = 5\nprint(fresh)",
    )
    assert done.text(2) == (
        "def f():\n    return 'original text'  # comment\n\nTrue True __main__ __main__\nTrue True\n5\n"
    )


def test_magics(trial: Trial) -> None:
    (trial.project / "script.py").write_text("from_script = __name__\n")
    (trial.project / "sub").mkdir()
    done = trial.good(
        "%%bash\necho from bash; echo err >&2",
        "%%capture shown\nprint('hidden')",
        "print(shown.stdout.strip())\nfiles = !ls *.py\nprint(list(files))",
        "%run script.py\nprint(from_script)",
        "%%writefile sub/../made.txt\nbody $x",
        "%env NBKUBE_TRIAL=1\nimport os\nprint(os.environ['NBKUBE_TRIAL'])\n!echo $NBKUBE_TRIAL",
        "%cd -q sub\n!basename $PWD",
        "%%time\nx = 5",
        "%load_ext autoreload\n%autoreload 2\nprint(x)",
    )
    assert "from bash" in done.text(1)
    assert done.text(3) == "hidden\n['script.py']\n"
    assert done.text(4) == "__main__\n"
    assert done.text(6).endswith("1\n1\n")
    assert done.text(7) == "sub\n"
    assert "Wall time" in done.text(8)
    assert done.text(9) == "5\n"


def test_installing_is_left_to_the_environment(trial: Trial) -> None:
    done = trial.good(
        "%pip install nothing-such-package\n!pip install -q nothing-such-package\n"
        "!python3 -m pip install nothing-such-package\n%conda install -y nothing-such\n!uv pip install nothing-such",
        "import sys\nx = !{sys.executable} -m pip install nothing-such-package\nprint(x)",
        "!cd /tmp && python -m pip install nothing-such | cat; echo after",
        "%%bash\nset -e\npip install nothing-such\nconda remove -y nothing\necho script",
        "!echo pip install is only mentioned; pip --version | cut -c1-3",
    )
    assert done.text(1, "stderr").count("nothing is installed inside a step") == 5
    assert done.text(1) == ""
    assert done.text(2) == "[]\n"
    assert "`pip install nothing-such` belongs" in done.text(3, "stderr")
    assert done.text(3) == "after\n"
    assert done.text(4, "stderr").count("nothing is installed inside a step") == 2
    assert done.text(4) == "script\n"
    assert done.text(5).startswith("pip install is only mentioned\n")


def test_shell_lines_see_local_names(trial: Trial) -> None:
    done = trial.good(
        "def f():\n    inner = 'local'\n    !echo {inner} $inner\n    out = !echo got {inner}\n"
        "    return list(out)\nf()",
        "!exit 3\n_exit_code",
    )
    assert done.text(1) == "local local\n"
    assert done.value(1) == "['got local']"
    assert done.value(2) == "3"


def test_progress_without_line_ends_is_seen_at_once(trial: Trial) -> None:
    done = trial.good("import time\nfor i in range(3):\n    print(i, end=' ')\n    time.sleep(0.3)")
    pieces = [event["text"] for event in done.events if event["event"] == "log"]
    assert "".join(pieces) == "0 1 2 "
    assert len(pieces) > 1


def test_what_libraries_look_for(trial: Trial) -> None:
    done = trial.good(
        "shell = get_ipython()\nprint(type(shell).__name__, 'IPKernelApp' in shell.config, hasattr(shell, 'kernel'))\n"
        "print(shell.kernel.get_parent())\nimport os\nprint(os.environ['MPLBACKEND'])"
    )
    assert done.text(1) == "ZMQInteractiveShell True True\n{}\nmodule://matplotlib_inline.backend_inline\n"


def test_figures_frames_and_widgets(trial: Trial) -> None:
    done = trial.good(
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('t');",
        "import pandas as pd\npd.DataFrame({'a': [1]})",
        "import ipywidgets as w\nw.IntSlider(3)",
        "from tqdm.auto import tqdm\nsum(tqdm(range(3)))",
        "out = w.Output()\nwith out:\n    print('inside')\n@w.interact(n=2)\ndef f(n):\n    print('n is', n)",
    )
    figure = next(one for one in done.outputs(1) if one["output_type"] == "display_data")
    assert figure["data"]["image/png"].startswith("iVBOR")
    assert "<table" in done.outputs(2)[0]["data"]["text/html"]
    assert "IntSlider" in done.value(3)
    assert done.value(4) == "3"
    nbformat.validate(nbformat.from_dict(done.notebook))


def test_process_pools(trial: Trial) -> None:
    (trial.project / "work.py").write_text("def double(x):\n    return 2 * x\n")
    done = trial.good(
        "import multiprocessing as mp\ndef triple(x):\n    return 3 * x\n"
        "with mp.get_context('fork').Pool(2) as pool:\n    print(pool.map(triple, [1, 2]))",
        "import work\nwith mp.get_context('spawn').Pool(1) as pool:\n    print(pool.map(work.double, [1, 2]))",
        "from joblib import Parallel, delayed\nprint(Parallel(n_jobs=2)(delayed(triple)(i) for i in range(3)))",
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)\n"
        "print(list(pool.map(triple, [5])))",
    )
    assert [done.text(cell) for cell in (1, 2, 3, 4)] == ["[3, 6]\n", "[2, 4]\n", "[0, 3, 6]\n", "[15]\n"]


def test_forked_children_only_print(trial: Trial) -> None:
    done = trial.good(
        "import os, sys\nprint('before')\npid = os.fork()\nif pid == 0:\n    print('child')\n    sys.stdout.flush()\n"
        "else:\n    os.waitpid(pid, 0)\n    print('parent')",
        "print('next')",
    )
    assert sorted(done.text(1).split()) == ["before", "child", "parent"]
    assert done.text(2) == "next\n"
