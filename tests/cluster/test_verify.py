"""`verify --engine argo`: the notebook in a kernel here, the pipeline in pods, compared object by object."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, project, same_libraries
from tests.notebooks.table import load_cases, write_project
from tests.unit.examples.archives import data_folder

pytestmark = pytest.mark.timeout(1800)
EXAMPLES = Path(__file__).parents[2] / "examples"
CASES = (
    "two-names-one-list", "both-branches-append", "branch-reads-while-another-writes-later", "shuffle-in-place",
    "numpy-slice-is-a-view", "subclass-of-a-class-from-another-step", "function-late-binding", "exception-in-a-step",
    "written-in-one-read-in-another", "two-branches-write-one-file", "removed-file-stays-removed",
    "absolute-path-in-a-value", "local-module-imported-late", "global-counter", "exec-binds-names", "shell-line",
    "environment-variable", "numpy-global-seed", "generator-across-steps", "underscore-across-steps",
)  # fmt: skip

_QUICK = 6
"""Cases of every run of the tests; the others and the examples belong to `make test-cluster-all`."""


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        yield found


@pytest.mark.parametrize(
    "name", [*CASES[:_QUICK], *(pytest.param(one, marks=pytest.mark.slow) for one in CASES[_QUICK:])]
)
def test_case(name: str, mine: Project) -> None:
    case = next(one for one in load_cases() if one.name == name)
    notebook = write_project(case, mine.folder)
    verdict = mine.client().verify(notebook, parameters=case.given, engine="argo")
    assert verdict.differences == ()
    assert verdict.equal
    assert mine.client().runs() == [], "what was run for the comparison is not kept"


@pytest.fixture
def libraries_of_the_image(tmp_path: Path) -> Iterator[None]:
    with same_libraries(tmp_path / "hidden"):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("libraries_of_the_image")
@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_example(name: str, mine: Project) -> None:
    mine.copy(EXAMPLES / name)
    verdict = mine.client().verify(mine.folder / f"{name}.ipynb", engine="argo")
    assert verdict.differences == ()
    assert verdict.equal


@pytest.mark.slow
@pytest.mark.usefixtures("libraries_of_the_image")
def test_sentiment_on_an_archive_in_the_bucket(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> None:
    with project(tmp_path / "project", bench, api, namespace, image=bench.images.tensorflow) as mine:
        mine.copy(EXAMPLES / "sentiment")
        archive = Path(data_folder(tmp_path), "aclImdb_v1.tar.gz")
        data = f"s3://{mine.bucket}/data/"
        mine.client().storage().put(archive, data)
        given = {"data": data, "reviews": 2000, "epochs": 4, "encoder": "tfidf"}
        verdict = mine.client().verify(mine.folder / "sentiment.ipynb", parameters=given, engine="argo")
        assert verdict.differences == ()
        assert verdict.equal
