"""Untrusted HTML made inert. The allow list is the defence; what is removed before it only keeps the page tidy."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

LIMIT = 300_000
"""Characters of HTML in one output that are still parsed; larger ones are shown as text."""

# fmt: off
_TAGS = frozenset(
    [
    "a", "abbr", "address", "article", "aside", "b", "bdi", "blockquote", "br", "caption", "cite", "code",
    "col", "colgroup", "dd", "del", "details", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "footer",
    "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "i", "img", "ins", "kbd", "li", "main", "mark", "meter",
    "nav", "ol", "p", "pre", "progress", "q", "rp", "rt", "ruby", "s", "samp", "section", "small", "span",
    "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "tt", "u",
    "ul", "var", "wbr",
]
)
# fmt: on
_EVERYWHERE = frozenset({"class", "title", "dir", "lang", "align", "valign", "style", "role"})
_ATTRIBUTES = {
    "a": frozenset({"href"}),
    "img": frozenset({"src", "alt", "width", "height"}),
    "td": frozenset({"colspan", "rowspan", "headers"}),
    "th": frozenset({"colspan", "rowspan", "headers", "scope"}),
    "col": frozenset({"span"}),
    "colgroup": frozenset({"span"}),
    "ol": frozenset({"start", "type", "reversed"}),
    "li": frozenset({"value"}),
    "details": frozenset({"open"}),
    "time": frozenset({"datetime"}),
    "meter": frozenset({"value", "min", "max", "low", "high", "optimum"}),
    "progress": frozenset({"value", "max"}),
}
# No url(), position, or anything that lets content leave its place or load something.
# fmt: off
_STYLES = [
    "background-color", "border", "border-bottom", "border-bottom-color", "border-bottom-style",
    "border-bottom-width", "border-collapse", "border-color", "border-left", "border-radius", "border-right",
    "border-spacing", "border-style", "border-top", "border-width", "color", "display", "font-family",
    "font-size", "font-style", "font-variant", "font-weight", "height", "letter-spacing", "line-height",
    "list-style-type", "margin", "margin-bottom", "margin-left", "margin-right", "margin-top", "max-height",
    "max-width", "min-height", "min-width", "opacity", "overflow", "padding", "padding-bottom", "padding-left",
    "padding-right", "padding-top", "text-align", "text-decoration", "text-indent", "text-transform",
    "vertical-align", "white-space", "width", "word-break", "word-wrap",
]
# fmt: on
_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*\Z")
_LINK = re.compile(r"(?:https?://|mailto:|#)[^\x00-\x20]*\Z", re.IGNORECASE)
# No function but a colour's, and no escape that could spell one.
_STYLE = re.compile(r"(?:[^()\\]|(?:rgb|hsl)a?\([0-9.,%/\sdeg]*\))*\Z", re.IGNORECASE)
# The content of these would be left behind as visible text.
_UNSEEN = re.compile(
    r"<(script|style|template|noscript|iframe|object|head|title|textarea|select|svg|math)\b[^>]*>.*?</\1\s*>",
    re.IGNORECASE | re.DOTALL,
)


def sanitise(html: str) -> str:
    """Return HTML of unknown origin with only harmless elements, attributes, styles and addresses left.

    Scripts, event handlers, frames, forms, embedded objects, style sheets and every address that is not a plain link
    or an inline picture are gone. Balanced, so that it cannot close what it is put into.
    """
    return str(_cleaner()(_UNSEEN.sub("", html)))


@functools.cache
def _cleaner() -> Callable[[str], Any]:
    from bleach.css_sanitizer import CSSSanitizer
    from bleach.sanitizer import Cleaner

    cleaner = Cleaner(
        tags=_TAGS,
        attributes=_allowed,
        protocols={"http", "https", "mailto", "data"},
        strip=True,
        strip_comments=True,
        css_sanitizer=CSSSanitizer(allowed_css_properties=_STYLES, allowed_svg_properties=()),
    )
    clean: Callable[[str], Any] = cleaner.clean
    return clean


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "style":
        return _STYLE.match(value) is not None
    if name in _EVERYWHERE:
        return True
    if name not in _ATTRIBUTES.get(tag, ()):
        return False
    if name == "src":
        return _IMAGE.match(value) is not None
    if name == "href":
        return _LINK.match(value) is not None
    return True
