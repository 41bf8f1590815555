"""Names that Kubernetes, or the pipeline, cannot take."""

from __future__ import annotations

from tests.unit.broken.row import Broken, cells
from tests.unit.documents import code


def _step(name: str, says: str) -> Broken:
    return cells(f"step-{name[:20]!r}-of-{len(name)}", [code("a = 1", f"step:{name}")], "bad-name", says)


def _option(option: str, value: str, says: str) -> Broken:
    rows = [code("a = 1", "step:a", options={option: value})]
    return cells(f"{option}-{value[:20]!r}", rows, "bad-option", says)


ROWS: list[Broken] = [
    _step("Train", "write train"),
    _step("TRAIN", "upper-case"),
    _step("a" * 64, "longer than 63"),
    _step("a" * 5000, "longer than 63"),
    _step("train-", "ends with a dash"),
    _step("-train", "write train"),
    _step("train.2", "write train-2"),
    _step("train model", "write train-model"),
    _step("übung", "write ubung"),
    _step("训练", "holds '训'"),
    _step("🚀", "use letters a-z"),
    _step("e\u0301tape", "write etape"),
    _step("\u202eniart", "write niart"),
    _step("train\u200b", "write train"),
    _step("..", "use letters a-z"),
    _step("a/../b", "write a-b"),
    _step("a\0b", "write a-b"),
    _step("a\nb", "write a-b"),
    _step("{{workflow.name}}", "write workflow-name"),
    _step("$(reboot)", "write reboot"),
    _step("___", "use letters a-z"),
    _step("imports", "use the tag imports alone"),
    _step("functions", "use the tag functions alone"),
    _step("parameters", "use the tag parameters alone"),
    _step("pipeline-metrics", "use the tag pipeline-metrics alone"),
    _step("skip", "use the tag skip alone"),
    _step("", "needs a name"),
    _step(" a", "white space"),
    cells(
        "collision", [code("a = 1", "step:load_data"), code("b = 1", "step:load-data")],
        "name-collision", "'load_data' and 'load-data' both stand for", 2,
    ),
    cells(
        "magic-collision", [code("a = 1", "step:load_data"), code("%%step load-data\nb = 1")],
        "name-collision", "write load-data everywhere", 2,
    ),
    cells("magic-name", [code("%%step Train --cpu 2\na = 1")], "bad-name", "write train"),
    _option("model", "My Model", "write my-model"),
    _option("image", "Team/Train", "write team/train"),
    _option("image", "a b; rm -rf /", "no name of an image"),
    _option("secret", "S3_KEYS", "write s3-keys"),
    _option("env", "1A=b", "write A=b"),
    _option("map", "class", "no name of a variable"),
    _option("node-selector", "a b=c", "key of a label"),
    _option("volume", "data:/a/../etc", "no absolute path"),
]  # fmt: skip
