"""Texts and notebooks that would like to be more than text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.building import CellText, notebook

SCRIPTS = [
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    "<svg/onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "\"'><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "{{constructor.constructor('window.pwned=1')()}}",
    "<a href=javascript:window.pwned=1>x</a>",
    "&lt;img src=x onerror=window.pwned=1&gt;",
    "<details open ontoggle=window.pwned=1>",
    "<body onload=window.pwned=1>",
    "<input autofocus onfocus=window.pwned=1>",
    "<video><source onerror=window.pwned=1>",
    "<audio src=x onerror=window.pwned=1>",
    "<math><mtext><script>window.pwned=1</script></mtext></math>",
    "<svg><animate onbegin=window.pwned=1 attributeName=x dur=1s>",
    "<svg><script>window.pwned=1</script></svg>",
    "<style>@import 'http://elsewhere.example/x.css';</style>",
    "<link rel=stylesheet href=http://elsewhere.example/x.css>",
    "<base href=http://elsewhere.example/>",
    "<meta http-equiv=refresh content='0;url=http://elsewhere.example/'>",
    "<form action=http://elsewhere.example/><input type=submit autofocus>",
    "<object data='data:text/html,<script>parent.pwned=1</script>'>",
    "<embed src='data:text/html,<script>parent.pwned=1</script>'>",
    "<template><script>window.pwned=1</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=window.pwned=1>'>",
    "<img src='http://elsewhere.example/pixel.png'>",
    "<x style='background:url(http://elsewhere.example/x.png)'>y</x>",
    "</textarea><script>window.pwned=1</script>",
    "</title><script>window.pwned=1</script>",
    "--><script>window.pwned=1</script><!--",
    "]]><script>window.pwned=1</script>",
    "${window.pwned=1}",
    "#{window.pwned=1}",
    "<%= window.pwned=1 %>",
    "__proto__",
    "\\u003cscript\\u003ewindow.pwned=1\\u003c/script\\u003e",
    "\x1b]8;;javascript:window.pwned=1\x07click\x1b]8;;\x07",
    "data:text/html;base64,PHNjcmlwdD53aW5kb3cucHduZWQ9MTwvc2NyaXB0Pg==",
    "<button onclick=window.pwned=1 style='position:fixed;inset:0'>",
    "\u202e<b>turned</b>\u0000",
]
assert len(set(SCRIPTS)) == 40

PLAIN: list[CellText] = [("step:one", "a = 1"), ("step:two", "b = a"), ("", "print(b)")]
_HTML = {"output_type": "display_data", "metadata": {}, "data": {"text/html": SCRIPTS[0], "text/plain": "x"}}
_CODE = {
    "output_type": "display_data",
    "metadata": {},
    "data": {"application/javascript": "window.pwned=1", "text/plain": "x"},
}


def _tags(document: dict[str, Any]) -> None:
    for cell, text in zip(document["cells"], SCRIPTS, strict=False):
        cell["metadata"]["tags"] = [f"step:{text}", text, *SCRIPTS]


def _odd_tags(document: dict[str, Any]) -> None:
    for cell, tags in zip(document["cells"], ({"step:x": 1}, 7, [["step:a"], None, 1, {"a": "step:b"}]), strict=False):
        cell["metadata"]["tags"] = tags


def _options(document: dict[str, Any]) -> None:
    document["cells"][0]["metadata"]["nbkube"] = {
        "image": "evil.example/x", "secret": ["root"], "volume": ["/:/host"], "namespace": "kube-system",
        "serviceAccount": "admin", "privileged": True, "hostNetwork": True, **{text: text for text in SCRIPTS},
    }  # fmt: skip


def _odd_options(document: dict[str, Any]) -> None:
    for cell, options in zip(document["cells"], ([1, 2], "cpu=4", {"cpu": {"a": [None]}, "env": 3}), strict=False):
        cell["metadata"]["nbkube"] = options


def _pollution(document: dict[str, Any]) -> None:
    for name in ("__proto__", "constructor", "prototype", "toString"):
        if name != "constructor":  # with such a key JupyterLab itself does not open a notebook
            document["cells"][0]["metadata"].setdefault("nbkube", {})[name] = {"pwned": 1}
        document["cells"][1]["metadata"].setdefault("tags", []).append(f"step:{name}")


def _magics(document: dict[str, Any]) -> None:
    lines = ("%%step a --image evil.example/x --secret root", "%%step ../../x --cpu ;rm", f"%%step {SCRIPTS[1]}")
    for cell, line in zip(document["cells"], lines, strict=False):
        cell["source"] = f"{line}\nx = 1"


def _outputs(document: dict[str, Any]) -> None:
    for cell in document["cells"]:
        cell["outputs"] = [_HTML, _CODE]
    document["metadata"]["trusted"] = True
    document["cells"][0]["metadata"]["trusted"] = True


def _markdown(document: dict[str, Any]) -> None:
    for number, text in enumerate(SCRIPTS[:12]):
        document["cells"].insert(
            0, {"cell_type": "markdown", "id": f"m{number}", "metadata": {}, "source": f"# {text}"}
        )


def _long(document: dict[str, Any]) -> None:
    document["cells"][0]["metadata"]["tags"] = [f"step:{'x' * 20_000}", *(f"t{n}" for n in range(2000))]
    document["cells"][1]["source"] = f"{'y' * 50_000} = 1"


def _circle(document: dict[str, Any]) -> None:
    document["cells"][0]["metadata"]["tags"] = ["step:one", "prev:two", "prev:one"]
    document["cells"][1]["metadata"]["tags"] = ["step:two", "prev:one", "prev:nowhere"]


def _runs_at_once(document: dict[str, Any]) -> None:
    document["cells"][0]["source"] = "%nbkube run\n!touch pwned\nimport os; os.system('touch pwned')"
    document["metadata"]["nbkube"] = {"run": True, "autostart": True, "engine": "argo", "profile": "prod"}


def _parameters(document: dict[str, Any]) -> None:
    document["cells"][0]["metadata"]["tags"] = ["parameters"]
    document["cells"][0]["source"] = "\n".join(f"p{n} = {text!r}  # {text!r}" for n, text in enumerate(SCRIPTS))


CHANGES: list[Callable[[dict[str, Any]], None]] = [
    _tags, _odd_tags, _options, _odd_options, _pollution, _magics,
    _outputs, _markdown, _long, _circle, _runs_at_once, _parameters,
]  # fmt: skip


def write_hostile(folder: Path) -> list[Path]:
    """Write twelve hostile notebooks and return their paths."""
    folder.mkdir()
    found = []
    for change in CHANGES:
        document = notebook(PLAIN)
        change(document)
        path = folder / f"{change.__name__.strip('_')}.ipynb"
        path.write_text(json.dumps(document))
        found.append(path)
    return found
