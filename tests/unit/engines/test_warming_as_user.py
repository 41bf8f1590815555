"""Steps are forked for a normal user as for root: user namespaces do what root's right to mount does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from nbkube.runtime.spawning import supported
from tests.as_user import run_as_user

pytestmark = pytest.mark.skipif(not supported(), reason="steps are forked on Linux only")

SCRIPT = """
import json, os
from pathlib import Path
from tests.unit.engines.test_warming import FORKED, Run, write
folder = Path.cwd()
(folder / "project").mkdir()
write(folder, "part.py", "value = 3\\n")
run = Run(folder, [
    ("imports", "import os, part\\nimport numpy as np"),
    ("step:a", f"a = {FORKED}, os.getuid(), os.getcwd(), os.path.abspath('part.py')\\nopen('made.txt', 'w').close()"),
    ("step:b", f"b = {FORKED}, os.getuid(), os.stat('made.txt').st_uid, part.value, os.access('/etc/shadow', os.R_OK)"),
    ("step:c", "powers = [one for one in open('/proc/self/status') if one.startswith('CapEff')][0].split()[1]"),
    ("pipeline-metrics", "first, second, caps = list(a), list(b), int(powers, 16)"),
])
print(json.dumps({"phase": run.phase, "failures": run.failures, "spawned": run.spawned(), **run.metrics,
    "user": os.getuid(), "left": os.listdir(os.environ["TMPDIR"])}))
"""


def namespaces_allowed() -> bool:
    return subprocess.run(["unshare", "--user", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not namespaces_allowed(), reason="this machine gives normal users no user namespaces")
def test_a_normal_user_s_steps_are_forked(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    done = run_as_user(SCRIPT, folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    user, project = found["user"], str(folder / "project")
    assert user != 0
    assert (found["phase"], found["spawned"]) == ("Succeeded", {}), found
    assert found["first"] == [True, user, project, f"{project}/part.py"]
    assert found["second"] == [True, user, user, 3, False]
    assert found["caps"] == 0
    assert found["left"] == []
