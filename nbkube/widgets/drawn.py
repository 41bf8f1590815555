"""What the drawn widgets have in common: their front end, and their form as plain text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget

_STATIC = Path(__file__).parent / "static"
_NOT_BUILT = """
export default { render({ model, el }) {
  const draw = () => { el.textContent = model.get("text"); el.style.whiteSpace = "pre"; };
  model.on("change:text", draw);
  draw();
} };
"""


def _static(name: str, otherwise: str) -> str:
    place = _STATIC / name
    return place.read_text(encoding="utf-8") if place.is_file() else otherwise


class Drawn(anywidget.AnyWidget):
    """A widget drawn by the code it shares with the panel; where that is not built, its text is shown."""

    _esm = _static("widgets.js", _NOT_BUILT)
    _css = _static("widgets.css", "")

    def __repr__(self) -> str:
        return str(self.text)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the widget, and its text for where no widget can be shown."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            data["text/plain"] = str(self.text)
        return bundle
