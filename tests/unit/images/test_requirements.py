from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.errors import BuildError
from nbkube.images.model import Environment
from nbkube.images.requirements import Project, environments
from nbkube.images.uv import Uv
from nbkube.plan import Plan
from tests.building import CellText, write_notebook

NUMPY = f"numpy=={metadata.version('numpy')}"
PANDAS = f"pandas=={metadata.version('pandas')}"


def found(
    folder: Path, cells: Sequence[CellText], extra: Sequence[str] = (), **more: object
) -> tuple[Environment, ...]:
    """Return the environments of a notebook in a folder."""
    path = write_notebook(folder / "work.ipynb", cells, **more)
    (folder / "nbkube.toml").touch()
    plan = Plan.of(Client(folder)._pipeline(path), path)
    project = Project(plan.root, plan.pipeline.notebook, plan.notebook, plan.programs, plan.pipeline.flow.edges)
    return environments(project, lambda place: Uv().export(place), extra)


def texts(environment: Environment) -> list[str]:
    return [one.text for one in environment.requirements]


def test_imports_become_what_is_installed_with_where_they_stand(tmp_path: Path) -> None:
    (one,) = found(tmp_path, [("imports", "import json\nimport numpy as np"), ("step:a", "x = np.ones(3)")])
    assert texts(one) == [NUMPY]
    assert one.requirements[0].origin == "work.ipynb:cell 1: import numpy"


def test_a_module_may_have_another_name_than_its_distribution(tmp_path: Path) -> None:
    (one,) = found(tmp_path, [("step:a", "import yaml, sklearn.svm")])
    assert [text.partition("==")[0] for text in texts(one)] == ["pyyaml", "scikit-learn"]


def test_steps_that_read_a_value_need_what_it_is_made_of(tmp_path: Path) -> None:
    cells = [
        ("step:a", "import pandas as pd\nframe = pd.DataFrame()"),
        ("step:b", "rows = len(frame)"),
        ("step:c", "n = 1"),
    ]
    (one,) = found(tmp_path, cells)
    assert texts(one) == [PANDAS]
    assert set(one.steps) == {"a", "b", "c"}  # who needs less shares the image


def test_steps_that_need_different_things_have_two_images(tmp_path: Path) -> None:
    cells = [("step:a", "import numpy as np\nx = np.pi"), ("step:b", "import tqdm\ny = tqdm.__name__")]
    two = found(tmp_path, cells)
    assert [[text.partition("==")[0] for text in texts(one)] for one in two] == [["numpy"], ["tqdm"]]


def test_modules_of_the_project_are_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("from mine import part\n")
    (tmp_path / "mine" / "part.py").write_text("import numpy\nfrom . import other\n")
    (tmp_path / "helper.py").write_text("import mine.part\n")
    (one,) = found(tmp_path, [("step:a", "import helper")])
    assert texts(one) == [NUMPY]
    assert one.requirements[0].origin == "mine/part.py: import numpy"


def test_what_code_copes_without_is_not_needed(tmp_path: Path) -> None:
    source = "try:\n    import no_such_thing\nexcept ImportError:\n    no_such_thing = None\n"
    assert texts(found(tmp_path, [("step:a", source)])[0]) == []


def test_an_unknown_import_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=r"work\.ipynb:cell 1: no installed distribution has the module nosuch. Fix: inst"
    ):
        found(tmp_path, [("step:a", "import nosuch.part")])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("requirements.txt", "tqdm>=4 # bar\n-r more.txt\n", ["numpy<3", "tqdm>=4"]),
        (
            "requirements.txt",
            "-e .\n./local\n--index-url https://u:p@i.example/simple\nsix==1.17.0 --hash=sha256:aa\n",
            ["six==1.17.0"],
        ),
        ("pyproject.toml", '[project]\nname = "p"\nversion = "1"\ndependencies = ["six"]\n', ["six"]),
        (
            "pylock.toml",
            'lock-version = "1.0"\n[[packages]]\nname = "six"\nversion = "1.17.0"\n[[packages]]\nname = "itself"\n',
            ["six==1.17.0"],
        ),
    ],
)  # fmt: skip
def test_files_decide_before_imports(tmp_path: Path, name: str, text: str, expected: list[str]) -> None:
    (tmp_path / "more.txt").write_text("numpy<3\n")
    (tmp_path / name).write_text(text)
    (one,) = found(tmp_path, [("step:a", "import pandas")])
    assert texts(one) == expected
    assert one.requirements[0].origin.startswith((name, "more.txt"))


def test_a_lock_of_uv_decides_first(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.11"\n')
    (tmp_path / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "p"\nversion = "1"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "six" }]\n[package.metadata]\nrequires-dist = [{ name = "six" }]\n'
        '[[package]]\nname = "six"\nversion = "1.16.0"\nsource = { registry = "https://index.example/simple" }\n'
        'wheels = [{ url = "https://index.example/six-1.16.0-py3-none-any.whl", hash = "sha256:' + "0" * 64 + '" }]\n'
    )
    assert texts(found(tmp_path, [("step:a", "import pandas")])[0]) == ["six==1.16.0"]


def test_install_lines_and_corrections(tmp_path: Path) -> None:
    cells = [
        ("", "%pip install -q 'tqdm>4' six --index-url https://ann:pw@index.example/simple\n!conda install -y gdal"),
        ("step:a", "import numpy\nx = 1"),
    ]
    (one,) = found(tmp_path, cells, ["lxml>=5", "-numpy"], nbkube={"requirements": ["attrs", "-six"]})
    assert [text for text in texts(one) if not text.startswith("six")] == ["attrs", "lxml>=5", "tqdm>4"]
    assert not any(text.startswith("six") for text in texts(one))
    told = " ".join(one.notes)
    assert "--index-url is not taken from notebooks" in told
    assert "what conda installs is not on a package index" in told
    assert "ann" not in told
    assert "pw@" not in repr(one)


@pytest.mark.parametrize("line", ["%pip list", "!pip --version", "!python3 -m pip show six"])
def test_lines_that_ask_pip_need_it(tmp_path: Path, line: str) -> None:
    (one,) = found(tmp_path, [("step:a", f"x = 1\n{line}")])
    assert texts(one) == [f"pip=={metadata.version('pip')}"]
    assert one.requirements[0].origin == "work.ipynb:cell 1: asks pip"


@pytest.mark.parametrize("line", ["%pip uninstall -y six", "!echo pip list", "# %pip list", "%pip"])
def test_other_lines_need_no_pip(tmp_path: Path, line: str) -> None:
    (one,) = found(tmp_path, [("step:a", f"x = 1\n{line}")])
    assert texts(one) == []


def test_libraries_that_another_needs_without_importing_them(tmp_path: Path) -> None:
    (one,) = found(tmp_path, [("step:a", "import pandas as pd\npd.DataFrame().to_parquet('x')")])
    needed = next(one for one in one.requirements if one.text.startswith("pyarrow=="))
    assert needed.origin == "pandas needs it for to_parquet"


def _installed(folder: Path, name: str, files: Sequence[str], origin: dict[str, object] | None = None) -> None:
    """Make a folder of the search path hold a distribution."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (place / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    if origin is not None:
        (place / "direct_url.json").write_text(json.dumps(origin))


def test_namespaces_lead_to_the_distribution_that_has_the_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    _installed(site, "shared_one", ["shared/one/__init__.py"])
    _installed(site, "shared_two", ["shared/two.py"])
    monkeypatch.syspath_prepend(site)
    project = tmp_path / "project"
    assert texts(found(project, [("step:a", "import shared.two")])[0]) == ["shared-two==1.0"]
    assert texts(found(project, [("step:a", "from shared import one")])[0]) == ["shared-one==1.0"]


def test_what_was_installed_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    _installed(site, "linked", ["linked.py"], {"url": f"file://{tmp_path}/other", "dir_info": {"editable": True}})
    _installed(site, "inside", ["inside.py"], {"url": f"file://{project}/lib", "dir_info": {"editable": True}})
    _installed(site, "cloned", ["cloned.py"], {"url": "https://git.example/c", "vcs_info": {"vcs": "git"}})
    _installed(site, "wheeled", ["wheeled.py"], {"url": "file:///w.whl", "archive_info": {}})
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    assert texts(found(project, [("step:a", "import inside, wheeled")])[0]) == ["wheeled==1.0"]
    with pytest.raises(BuildError) as refused:
        found(project, [("step:a", "import linked\nimport cloned")])
    told = [str(one) for one in refused.value.diagnostics]
    assert "linked is installed from a folder outside the project. Fix: pip wheel --no-deps" in told[0]
    assert "cloned is installed from an address" in told[1]
    assert texts(found(project, [("step:a", "import linked, cloned")], ["-linked", "-cloned"])[0]) == []


_WRONG: dict[str, tuple[dict[str, str | bytes], str]] = {
    "no requirement": (
        {"requirements.txt": "numpy==\n"},
        r"requirements\.txt:1: 'numpy==' is no requirement .*Fix: write",
    ),
    "an address": (
        {"requirements.txt": "x @ https://t:pw@e.example/x.whl\n"},
        r"x comes from an address.*Fix: build its wheel",
    ),
    "a repository": ({"requirements.txt": "git+https://e.example/x\n"}, "is no requirement"),
    "a file that is not there": ({"requirements.txt": "-r none.txt\n"}, r"there is no file none\.txt in the project"),
    "a file elsewhere": ({"requirements.txt": "-r ../../../etc/passwd\n"}, "there is no file"),
    "a circle": ({"requirements.txt": "-r requirements.txt\n"}, "includes itself"),
    "no text": ({"requirements.txt": b"\xff\xfe\x00"}, r"cannot be read .*Fix: save it as UTF-8"),
    "too large": ({"requirements.txt": b"#" * (9 << 20)}, "larger than 8 MiB"),
    "no TOML": ({"pyproject.toml": "[project"}, r"pyproject\.toml is no TOML.*Fix: correct it"),
    "a broken lock": ({"pylock.toml": "= 1"}, r"pylock\.toml is no TOML"),
    "another lock": (
        {"uv.lock": "version = 99\n", "pyproject.toml": '[project]\nname = "p"\nversion = "1"\n'},
        "Fix: ",
    ),
}


@pytest.mark.parametrize("name", _WRONG)
def test_files_that_are_wrong_are_told(tmp_path: Path, name: str) -> None:
    files, expected = _WRONG[name]
    for path, content in files.items():
        (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BuildError, match=expected) as refused:
        found(tmp_path, [("step:a", "x = 1")])
    assert "pw@" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_metadata_that_is_wrong_is_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"nbkube\.requirements is no list of texts\. Fix: write e\.g\."):
        found(tmp_path, [("step:a", "x = 1")], nbkube={"requirements": "numpy"})
