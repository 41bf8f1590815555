"""A step of a run goes on in an ordinary kernel, with everything it had."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from nbkube.client import Client
from nbkube.engines.argo.launch import freeze
from nbkube.engines.detached import load_submission
from nbkube.errors import NbkubeError, NotFoundError
from nbkube.interactive.model import Opened
from nbkube.runs import Phase
from nbkube.state.snapshot import snapshot
from nbkube.storage import open_store
from nbkube.storage.seal import seal
from tests.building import CellText, write_notebook
from tests.unit.interactive.kernel import live_kernel, sources

CELLS: list[CellText] = [
    ("imports", "import decimal, os, random\nimport numpy as np\nfrom pathlib import Path\nimport beside"),
    ("imports", "np.set_printoptions(precision=3)\ndecimal.getcontext().prec = 9"),
    (
        "functions",
        "class Point:\n    made = []\n    def __init__(self, x):\n        self.x = x\n"
        "        Point.made.append(self)\n\n"
        "def scaled(p):\n    return p.x * factor",
    ),
    ("parameters", "factor = 2"),
    (
        "step:load",
        "random.seed(5)\nbase = np.arange(100_000.0)\nview = base[2:5]\np = Point(base)\npair = [p, view]\n"
        "twice = {'one': pair, 'other': pair}\nos.environ['COLOUR'] = 'red'\n"
        "Path('made.txt').write_text('from load')\nwhere = Path.cwd() / 'made.txt'\nrandom.random()",
    ),
    ("step:fit", "drawn = random.random()\nprint('drawn', drawn)"),
    ("", "pair.append(scaled(p)[:3])"),
    ("", "limit = int(Path('limit.txt').read_text())\nratio = 10 / limit"),
    ("", "done = ratio + drawn"),
    ("step:end", "print(done)"),
]
NAMES = ("base", "view", "p", "pair", "twice", "factor", "drawn", "Point", "scaled")


def project(folder: Path, cells: list[CellText] = CELLS) -> Path:
    notebook = write_notebook(folder / "project" / "notes" / "work.ipynb", cells)
    (folder / "project" / "nbkube.toml").write_text("")
    (notebook.parent / "beside.py").write_text("VALUE = 1\n")
    (notebook.parent / "limit.txt").write_text("0")
    return notebook


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Client, str]:
    notebook = project(tmp_path_factory.mktemp("open"))
    client = Client(notebook.parent)
    state = client.run(notebook)
    assert state.phase is Phase.FAILED
    return notebook, client, state.id


@pytest.fixture
def opened(failed: tuple[Path, Client, str], tmp_path: Path) -> Opened:
    _, client, run = failed
    return client.open_step(run, "fit", tmp_path / "opened.ipynb")


def test_the_first_cell_is_one_that_people_can_read(failed: tuple[Path, Client, str]) -> None:
    notebook, client, run = failed
    written = client.open_step(run, "fit").path
    assert written.parent == notebook.parent
    assert sources(written)[0] == f"%load_ext nbkube\n%nbkube restore {run} fit"
    assert sources(written)[1] == "%%replayed\n" + CELLS[5][1]
    assert sources(written)[3] == CELLS[7][1]
    with pytest.raises(NbkubeError, match="exists already. Fix: open that one, or give another file"):
        client.open_step(run, "fit")
    written.write_text("changed by hand")
    again = client.open_step(run, "fit", keep=True)
    assert (again.path, again.path.read_text()) == (written, "changed by hand")
    written.unlink()


def test_it_goes_on_at_the_failing_cell_with_all_that_was_there(
    opened: Opened, failed: tuple[Path, Client, str]
) -> None:
    notebook, _, _ = failed
    assert (opened.replayed, opened.cell, opened.failed, opened.doubts) == ((6, 7), 8, True, ())
    project_root = notebook.parent.parent
    with live_kernel(opened.path.parent) as kernel:
        first, *others = kernel.run_all(opened.path)
        assert first.error == ""
        assert "Run again: cells 6, 7." in first.text
        assert others[0].text.startswith("Run already by the first cell.")
        assert others[2].error == "ZeroDivisionError: division by zero"
        # Everything is compared with what the notebook's own cells make in a kernel, in lockstep with identities.
        kernel.run_well(f"names = {NAMES}\nrestored = {{name: globals()[name] for name in names}}")
        assert kernel.run_well("Point.made[0] is p and view.base is base and twice['one'] is pair").values == ["True"]
        assert kernel.run_well("scaled.__globals__ is globals()").values == ["True"]
        state = "(os.environ['COLOUR'], decimal.getcontext().prec, np.get_printoptions()['precision'])"
        assert kernel.run_well(state).values == ["('red', 9, 3)"]
        place = kernel.run_well("str(Path.cwd())").values[0].strip("'")
        assert place.startswith(str(project_root / ".nbkube" / "opened"))
        assert place.endswith("/project/notes")
        assert kernel.run_well("where.read_text(), where.parent == Path.cwd()").values == ["('from load', True)"]
        assert kernel.run_well("beside.__file__.startswith(str(Path.cwd()))").values == ["True"]
        for _, source in CELLS[2:7]:
            kernel.run_well(source)
        kernel.run_well("from nbkube.state.compare import compare")
        found = kernel.run_well("[str(one) for one in compare(restored, {name: globals()[name] for name in names})]")
        assert found.values == ["[]"]
    assert not (notebook.parent / "made.txt").exists()


def test_after_a_fix_it_goes_on(opened: Opened, failed: tuple[Path, Client, str]) -> None:
    with live_kernel(opened.path.parent) as kernel:
        kernel.run_well(sources(opened.path)[0])
        kernel.run_well(CELLS[7][1].replace("10 / limit", "10 / (limit or 4)"))
        kernel.run_well(CELLS[8][1])
        kernel.run_well("random.seed(5)\nrandom.random()")
        assert kernel.run_well("done == 2.5 + random.random()").values == ["True"]
        shown = kernel.run(f"%nbkube run {failed[0]} --from end").text
        assert "This kernel holds an opened step. Fix: take your changes back with nbkube apply" in shown


def test_a_step_that_went_well_opens_at_its_first_cell(failed: tuple[Path, Client, str], tmp_path: Path) -> None:
    _, client, run = failed
    opened = client.open_step(run, "load", tmp_path / "load.ipynb")
    assert (opened.replayed, opened.cell, opened.failed) == ((), 5, False)
    with live_kernel(tmp_path) as kernel:
        shown = kernel.run_all(opened.path)
        assert [one.error for one in shown] == ["", ""]
        assert kernel.run_well("Point.made == [p], factor").values == ["(True, 2)"]


def test_a_step_that_has_not_begun(failed: tuple[Path, Client, str]) -> None:
    _, client, run = failed
    with pytest.raises(NotFoundError, match="step end has not begun .* step fit has no result. Open fit instead"):
        client.open_step(run, "end")
    with pytest.raises(NotFoundError, match="no step 'fitt'. Its steps: setup, load, fit, end"):
        client.open_step(run, "fitt")


def test_it_says_what_may_make_the_state_differ(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
    cells = [
        ("step:one", "import random, socket, time, uuid\nname = str(uuid.uuid4())\nbegan = time.time()"),
        ("", f"socket.create_connection(('localhost', {port})).close()\ndrawn = random.random()"),
        ("", "text = open('data.txt').read()"),
        ("", "1 / 0"),
    ]
    notebook = write_notebook(tmp_path / "work.ipynb", cells)
    (tmp_path / "data.txt").write_text("old")
    client = Client(tmp_path)
    run = client.run(notebook).id
    server.close()
    (tmp_path / "data.txt").write_text("new")
    doubts = client.open_step(run, "one").doubts
    assert doubts == (
        "data.txt has changed since the run",
        f"the step asked localhost:{port}, which may answer otherwise now",
        "random numbers were drawn without a seed (random)",
        "cell 1 reads the clock",
        "cell 1 reads random numbers from the system",
    )
    text = json.dumps(json.loads(next(tmp_path.glob("work-one-*.ipynb")).read_text()))
    assert all(one in text for one in doubts)


def test_a_cell_that_shows_something_else_is_told(tmp_path: Path) -> None:
    cells = [
        ("step:one", "%%time\nimport itertools, os\nprint('always', object())\n'a value'"),
        ("", "open('count.txt', 'a').write('.')\nprint(os.getpid())\n[1]"),
        ("", "1 / 0"),
    ]
    notebook = write_notebook(tmp_path / "work.ipynb", cells)
    client = Client(tmp_path)
    opened = client.open_step(client.run(notebook).id, "one")
    assert opened.doubts == ()
    with live_kernel(tmp_path) as kernel:
        shown = kernel.run_well(sources(opened.path)[0]).text
    assert "The state may differ from the run's: cell 2 shows something else now than in the run." in shown
    assert "cell 1 shows" not in shown


def test_cells_that_await_are_left_to_the_person(tmp_path: Path) -> None:
    cells = [
        ("step:one", "import asyncio\na = 1"),
        ("", "await asyncio.sleep(0)\nb = a + 1"),
        ("", "1 / (b - 2)"),
    ]
    notebook = write_notebook(tmp_path / "work.ipynb", cells)
    client = Client(tmp_path)
    opened = client.open_step(client.run(notebook).id, "one")
    assert (opened.replayed, opened.cell) == ((1,), 2)
    with live_kernel(tmp_path) as kernel:
        errors = [one.error for one in kernel.run_all(opened.path)]
    assert errors == ["", "", "", "ZeroDivisionError: division by zero"]


def test_nothing_is_installed_on_the_way(tmp_path: Path) -> None:
    cells = [
        ("step:one", "%pip install no-such-thing-anywhere\n!pip install no-such-thing-anywhere\na = 1"),
        ("", "1 / 0"),
    ]
    notebook = write_notebook(tmp_path / "work.ipynb", cells)
    client = Client(tmp_path)
    opened = client.open_step(client.run(notebook).id, "one")
    with live_kernel(tmp_path) as kernel:
        first = kernel.run_all(opened.path)[0]
        assert (first.error, kernel.run_well("a").values) == ("", ["1"])
        # Afterwards the magic is the kernel's own again.
        assert "installed inside a step" not in kernel.run("%pip --version").text


def test_unstorable_values_come_from_the_cells_that_made_them(tmp_path: Path) -> None:
    cells = [
        ("step:make", "numbers = (n for n in range(3))\nprint('made')"),
        ("step:use", "first = next(numbers)"),
        ("", "second = next(numbers)\n1 / 0"),
    ]
    notebook = write_notebook(tmp_path / "work.ipynb", cells)
    client = Client(tmp_path)
    opened = client.open_step(client.run(notebook).id, "use")
    assert (opened.replayed, opened.cell) == ((1, 2), 3)
    with live_kernel(tmp_path) as kernel:
        shown = kernel.run_all(opened.path)
        assert [one.error for one in shown] == ["", "", "", "ZeroDivisionError: division by zero"]
        assert kernel.run_well("first, second, next(numbers)").values == ["(0, 1, 2)"]


def test_a_run_of_a_cluster_brings_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("as it was")
    cells = [("step:one", "open('made.txt', 'w').write('made')"), ("step:two", "1 / 0")]
    notebook = write_notebook(tmp_path / "work.ipynb", cells)
    client = Client(tmp_path)
    run = client.run(notebook)
    # What a submission to a cluster leaves in the store, in place of what a run on this machine does.
    store = open_store(tmp_path / ".nbkube")
    submission = load_submission(store, run.id)
    digest, _ = freeze(submission, run.run, snapshot(tmp_path), store, chain=True)
    store.write(f"runs/{run.id}/run.json", seal(msgspec.json.encode(replace(run.run, submission=digest))))
    store.remove(f"runs/{run.id}/submission.json")
    (tmp_path / "data.txt").write_text("as it is")
    opened = client.open_step(run.id, "two", tmp_path / "opened.ipynb")
    assert opened.cell == 2
    with live_kernel(tmp_path) as kernel:
        kernel.run_well(sources(opened.path)[0])
        shown = kernel.run_well("open('data.txt').read(), open('made.txt').read()")
        assert shown.values == ["('as it was', 'made')"]


def test_folders_of_kernels_that_have_ended_are_removed(failed: tuple[Path, Client, str], tmp_path: Path) -> None:
    notebook, client, run = failed
    opened = client.open_step(run, "load", tmp_path / "load.ipynb")
    place = notebook.parent.parent / ".nbkube" / "opened" / f"{run}-load"
    for _ in range(2):
        with live_kernel(tmp_path) as kernel:
            kernel.run_well(sources(opened.path)[0])
            assert len(list(place.iterdir())) == 1
