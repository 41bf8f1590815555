"""A report is one file that holds everything a reader needs."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from nbkube.report import Report, ReportEdge, ReportStep, render_report
from nbkube.report.graph import draw_graph


def cell(source: str, text: str) -> dict[str, object]:
    return {
        "source": source,
        "execution_count": 1,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": text}],
    }


STEPS = (
    ReportStep("load", "Succeeded", 2.04, 150 << 20, cells=(cell("X = read()", "1797 rows"),)),
    ReportStep("tree", "Succeeded", 61.0, 1 << 30, after=("load",)),
    ReportStep("svc", "Succeeded", 0.0, 0, cached=True, after=("load",)),
    ReportStep("compare", "Failed", 0.4, 1 << 20, after=("load", "tree", "svc"), failure="ZeroDivisionError: cell 9"),
)
EDGES = (
    ReportEdge("load", "tree", ("X",)),
    ReportEdge("load", "svc", ("X",)),
    ReportEdge("load", "compare", ("y",)),
    ReportEdge("tree", "compare", ("tree",)),
)
REPORT = Report(
    "digits", "r1", "Failed", 1.0, 64.0, {"seed": 7}, {"accuracy": 0.98765432}, STEPS, EDGES, "base", "digits.ipynb"
)


def test_everything_is_on_the_page() -> None:
    page = render_report(REPORT)
    for text in ("digits", "r1", "0.987654", "seed", "1797 rows", "1 min 01 s", "1.0 GiB", "ZeroDivisionError: cell 9"):
        assert text in page, text
    assert "read" in page


def test_nothing_is_fetched_or_run() -> None:
    page = render_report(REPORT)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src &#x27;none&#x27;" in policy.group(1)
    assert "script-src" not in policy.group(1)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_of_a_failed_run_the_failed_step_is_open() -> None:
    page = render_report(REPORT)
    assert re.findall(r"<details( open)?><summary>(\w+)", page) == [
        ("", "load"), ("", "tree"), ("", "svc"), (" open", "compare"),
    ]  # fmt: skip


def test_graph_is_well_formed_and_names_what_edges_carry() -> None:
    drawing = ElementTree.fromstring(draw_graph(STEPS, EDGES))
    boxes = [group for group in drawing.iter("g") if (group.get("class") or "").startswith("box")]
    assert [group.get("class") for group in boxes] == ["box succeeded", "box succeeded", "box cached", "box failed"]
    labels = [text.text for text in drawing.iter("text") if text.get("class") == "carried"]
    assert sorted(filter(None, labels)) == ["X", "X", "tree", "y"]
    # load -> compare carries y; svc -> compare is order alone.
    orders = [group for group in drawing.iter("g") if group.get("class") == "edge order"]
    assert len(orders) == 1


def test_boxes_of_a_layer_do_not_overlap() -> None:
    steps = [ReportStep("start", "Succeeded")]
    steps += [ReportStep(f"a-rather-long-name-{number}", "Succeeded", after=("start",)) for number in range(6)]
    drawing = ElementTree.fromstring(draw_graph(steps, []))
    spans = sorted(
        (float(box.get("x", 0)), float(box.get("x", 0)) + float(box.get("width", 0)))
        for box in drawing.iter("rect")
        if box.get("y") != "8.0"
    )
    assert len(spans) == 6
    assert all(left[1] < right[0] for left, right in zip(spans, spans[1:], strict=False))


def test_labels_of_edges_do_not_cover_each_other() -> None:
    carried = ("train_images", "train_labels", "test_images")
    steps = [
        ReportStep("setup", "Succeeded"),
        ReportStep("split", "Succeeded", after=("setup",)),
        *(ReportStep(name, "Succeeded", after=("split",)) for name in ("forest", "neighbours")),
    ]
    edges = [ReportEdge("setup", "split", ("seed",))]
    edges += [ReportEdge(first, last, carried) for first in ("setup", "split") for last in ("forest", "neighbours")]
    drawing = ElementTree.fromstring(draw_graph(steps, edges))
    labels = [
        (float(text.get("x", 0)), float(text.get("y", 0)), len(text.text or "") * 6.8)
        for text in drawing.iter("text")
        if text.get("class") == "carried"
    ]
    assert len(labels) == 5
    for index, (x, y, width) in enumerate(labels):
        for other_x, other_y, other in labels[index + 1 :]:
            assert abs(y - other_y) >= 12 or abs(x - other_x) >= (width + other) / 2


def test_an_empty_run_is_a_page_too() -> None:
    assert "nothing" in render_report(Report("nothing", "r0", "Failed"))
    assert draw_graph((), ()) == ""


def test_text_that_html_cannot_hold_is_replaced() -> None:
    render_report(Report("nul \0 and \udc80", "r", "Failed")).encode("utf-8")
