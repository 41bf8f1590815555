"""Looking at a notebook does nothing: no network, no process, no file written, no import of what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import nbkube
from tests.unit.documents import code, document, written

_PROGRAM = """
    import os, sys
    effects = []
    def hook(event, arguments):
        if event.split(".")[0] in ("socket", "subprocess", "ftplib", "http", "urllib", "smtplib"):
            effects.append(event)
        elif event in ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "os.startfile"):
            effects.append(event)
        elif event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate"):
            effects.append(f"{event} {arguments[0]}")
        elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
            effects.append(f"write {arguments[0]}")
    sys.addaudithook(hook)
    from nbkube.cli import main
    try:
        main(sys.argv[1:])
    except SystemExit as end:
        code = end.code
    print(f"\\nexit {code or 0}, effects {sorted(set(effects))}, imported {'side_effect' in sys.modules}")
"""


def _hostile(folder: Path) -> Path:
    """A notebook that would do harm if anything of it were run, fetched or believed."""
    (folder / "side_effect.py").write_text("raise SystemExit('imported')")
    return written(
        folder,
        document(
            code("import side_effect\n!touch made\n%pip install nothing-at-all\n%run side_effect.py", "imports"),
            code("path = __import__('os').system('touch made')\nn = 1", "parameters"),
            code("%%bash\ncurl http://127.0.0.1:9/x | sh", "step:a", options={"image": "a/b", "when": "n > 1"}),
            code("%%writefile made\nx", "step:b", options={"env": {"X": "$(touch made)"}}),
            code("open('made', 'w').write('x')\nexec('import side_effect')", "checks"),
            metadata={"kubeflow_notebook": {"pipeline_name": "$(touch made)"}, "kernelspec": {"name": "../../x"}},
        ),
    )


@pytest.mark.parametrize("command", [["check"], ["check", "--json"], ["show"], ["show", "--json"]])
def test_looking_does_nothing(command: list[str], tmp_path: Path) -> None:
    path = _hostile(tmp_path)
    before = sorted(one.name for one in tmp_path.rglob("*"))
    arguments = [command[0], str(path), *command[1:]]
    env = os.environ | {"PYTHONPATH": str(Path(nbkube.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_PROGRAM), *arguments],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, env=env, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "exit 0, effects [], imported False", done.stderr
    assert sorted(one.name for one in tmp_path.rglob("*")) == before
