"""Nothing of a notebook and no secret is in any Kubernetes object, log or record; inside the step all is as written."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from nbkube.engines.argo.text import as_yaml
from nbkube.runs import Phase
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, project

pytestmark = pytest.mark.timeout(1800)
MARK = "zq7vx"
KINDS = (
    "/api/v1/namespaces/{}/pods",
    "/api/v1/namespaces/{}/events",
    "/api/v1/namespaces/{}/configmaps",
    "/api/v1/namespaces/{}/serviceaccounts",
    "/api/v1/namespaces/{}/persistentvolumeclaims",
    "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows",
    "/apis/argoproj.io/v1alpha1/namespaces/{}/workflowtaskresults",
    "/apis/argoproj.io/v1alpha1/namespaces/{}/workflowtasksets",
    "/apis/events.k8s.io/v1/namespaces/{}/events",
)


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        found.configure(bench.images.base, allow='secrets = ["mine"]')
        yield found


def hostile_texts(count: int) -> list[str]:
    """Return texts with all that YAML, JSON, shells and Argo have a meaning for; each holds the mark and its number."""
    parts = [
        "{{workflow.name}}", "{{inputs.parameters.unit}}", "{{=sprig.env('HOME')}}", "{{", "}}", "'", '"', "'''",
        '"""', "\\", "\n", "\r\n", "\t", "\0", "\x1b[31m", "\x7f", "${HOME}", "$(id)", "`id`", "; rm -rf /", "| cat",
        "&& true", "%s", "- &a *a", "!!python/object/apply:os.system", ": ", "#", "---\n", "...", "<<: *x", "null", "~",
        "0x1F", "ünïçødé", "\u202e", "🦄", "\u2028", "</script>", "a" * 300,
    ]  # fmt: skip
    draw = random.Random(4)
    return [f"{MARK}{number:03}" + "".join(draw.choices(parts, k=draw.randrange(1, 12))) for number in range(count)]


def objects(api: Api, namespace: str) -> str:
    """Return everything that the API server holds in a namespace but Secrets, as text."""
    return "\n".join(json.dumps(api.get(kind.format(namespace)), ensure_ascii=False) for kind in KINDS)


def logs(api: Api, namespace: str) -> str:
    found = []
    for pod in api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]:
        for container in ("init", "wait", "main"):
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/log"
            found.append(str(api.get(path, container=container)))
    return "\n".join(found)


def stored(mine: Project) -> Iterator[tuple[str, bytes]]:
    """Yield every object of the project's bucket."""
    from urllib.parse import urlsplit

    from minio import Minio

    server = mine.bench.minio
    client = Minio(
        endpoint=urlsplit(server.endpoint).netloc,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        secure=False,
    )
    for one in client.list_objects(bucket_name=mine.bucket, recursive=True):
        yield str(one.object_name), client.get_object(bucket_name=mine.bucket, object_name=one.object_name).data


def test_500_hostile_texts(mine: Project, api: Api) -> None:
    texts = hostile_texts(500)
    in_source, given, in_environment = texts[:250], texts[250:490], [one.replace("\0", "") for one in texts[490:]]
    # As they are, too, where Python's own grammar lets them be.
    raw = [one for one in in_source if not set(one) & set("\0\r\\\x7f\x1b") and '"' not in one]
    assert len(raw) > 50
    count = "import hashlib, json, os\ndigest = lambda texts: hashlib.sha256(json.dumps(texts).encode()).hexdigest()\n"
    written = "".join(f'raw.append(r"""{one}""")\n' for one in raw)
    cells = [
        ("parameters", "given = ['none']"),
        ("step:written", f"{count}texts = {in_source!r}\nraw = []\n{written}\nsource = [digest(texts), digest(raw)]"),
        ("step:passed", f"{count}parameters = digest(given)"),
        (
            "step:surrounding",
            f"{count}environment = digest([os.environ[f'TEXT_{{n}}'] for n in range({len(in_environment)})])",
        ),
        ("pipeline-metrics", "print(source, parameters, environment)"),
    ]
    options: dict[str, dict[str, Any]] = {
        "surrounding": {"env": [f"TEXT_{number}={text}" for number, text in enumerate(in_environment)]}
    }
    state = mine.client().run(mine.notebook(cells), parameters={"given": given}, options=options)
    assert state.phase is Phase.SUCCEEDED, [(step.name, step.failure) for step in state.steps]
    assert state.metrics == {
        "source": [_digest(in_source), _digest(raw)],
        "parameters": _digest(given),
        "environment": _digest(in_environment),
    }
    assert MARK not in objects(api, mine.namespace)


def _digest(texts: list[str]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def test_secrets_are_nowhere(mine: Project, api: Api) -> None:
    canaries = {
        "AWS_ACCESS_KEY_ID": mine.bench.minio.access_key,
        "AWS_SECRET_ACCESS_KEY": mine.bench.minio.secret_key,
        **{
            f"CANARY_{number}": f"canary-{number}-{hashlib.sha256(str(number).encode()).hexdigest()[:20]}"
            for number in range(4)
        },
    }
    data = {
        name: base64.b64encode(text.encode()).decode() for name, text in canaries.items() if name.startswith("CANARY")
    }
    metadata = {"name": "mine", "namespace": mine.namespace}
    api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    cells = [
        (
            "step:use",
            "import os, pathlib\nlength = len(os.environ['CANARY_0'])\n"
            "length += len(pathlib.Path('/keys/CANARY_1').read_text())",
        ),
        ("step:fail", "import os\nassert length == 0 and os.environ['CANARY_2'], 'meant to fail'"),
    ]
    options = {name: {"secret": ["mine", "mine:/keys"]} for name in ("use", "fail")}
    notebook = mine.notebook(cells)
    exported = as_yaml(mine.client().export(notebook, options=options))
    state = mine.client().run(notebook, options=options)
    assert [step.phase for step in state.steps] == [Phase.SUCCEEDED, Phase.FAILED]
    places = {
        "objects": objects(api, mine.namespace).encode(),
        "logs": logs(api, mine.namespace).encode(),
        "yaml": exported.encode(),
        **{f"the store's {name}": content for name, content in stored(mine)},
        **{str(path): path.read_bytes() for path in (mine.folder / ".nbkube").rglob("*") if path.is_file()},
    }
    assert len(places) > 10
    found = [
        (name, place)
        for place, content in places.items()
        for name, text in canaries.items()
        for form in (text, base64.b64encode(text.encode()).decode(), text.encode().hex(), quote(text))
        if form.encode() in content
    ]
    assert found == []
