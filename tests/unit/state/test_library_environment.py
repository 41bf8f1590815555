from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, sys
sys.path[:0] = ["library", "project"]
from nbkube.state.namespace import Namespace
from nbkube.state.process import Start, capture_process
from nbkube.storage import open_store
start = Start.now(os.path.abspath("project"))
import of_library, of_project
os.environ["BY_CELL"] = "1"
of_library.call()
print(sorted(capture_process(Namespace({}, open_store("store")), start)["process:environ"]))
"""
SETS = "import os\nos.environ.setdefault('{0}_IMPORT', '1')\ndef call():\n    os.environ['{0}_CALL'] = '1'\n"


def test_what_libraries_set_on_import_is_theirs(tmp_path: Path) -> None:
    for kind in ("library", "project"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / f"of_{kind}.py").write_text(SETS.format(kind.upper()))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['BY_CELL', 'LIBRARY_CALL', 'PROJECT_IMPORT']"
