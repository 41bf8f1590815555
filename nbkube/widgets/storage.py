"""Buckets and their objects in a cell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import traitlets

from nbkube.client import Client
from nbkube.errors import NbkubeError
from nbkube.storage.disk import readable_size
from nbkube.storage.files import FileInfo
from nbkube.widgets.drawn import Drawn

_PAGE = 200


class StorageBrowser(Drawn):
    """Files of the project's buckets; `value` is the location that was chosen, "" for none.

    Args:
        location: where to begin: a folder, `s3://BUCKET/FOLDER/`, or `s3://` for all buckets. By default the
            profile's bucket, else the project.
        project: a folder of the project; by default the working directory.
        profile: whose server is meant; by default the project's own.

    `location` can be set, and `prefix`, of which names have to begin; what went wrong stands in `fault`.
    """

    kind = traitlets.Unicode("storage").tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    location = traitlets.Unicode().tag(sync=True)
    prefix = traitlets.Unicode().tag(sync=True)
    value = traitlets.Unicode().tag(sync=True)
    entries = traitlets.List().tag(sync=True)
    more = traitlets.Bool().tag(sync=True)
    fault = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        location: str = "",
        *,
        project: str | os.PathLike[str] | None = None,
        profile: str = "",
        **more: object,
    ) -> None:
        super().__init__(**more)
        client = Client(Path(project) if project is not None else None, profile=profile)
        self._files = client.storage(patience=6.0)
        self._next = ""
        self.location = _folder(location or client.storage_place())
        self.observe(self._moved, ["location"])
        self.observe(lambda _: self._list(), ["prefix"])
        self.on_msg(self._asked)
        self._list()

    def load_more(self) -> None:
        """Add the next page to `entries`."""
        if self._next:
            self._list(self._next)

    def _moved(self, _: object) -> None:
        self.location = _folder(self.location)
        with self.hold_trait_notifications():
            self.value, self.prefix = "", ""
        self._list()

    def _list(self, token: str = "") -> None:
        known = self.entries if token else []
        try:
            page = self._files.page(self.location, prefix=self.prefix, token=token, limit=_PAGE)
        except NbkubeError as error:
            self.fault, self._next = str(error), ""
            self.text = f"{self.location}\n  {self.fault}"
            return
        self._next = page.next
        with self.hold_trait_notifications():
            self.fault, self.more = "", bool(page.next)
            self.entries = [*known, *map(_entry, page.files)]
            self.text = _text(self.location, self.entries, self.more)

    def _asked(self, _: object, content: dict[str, str], __: object) -> None:
        if content.get("act") == "more":
            self.load_more()
        elif content.get("act") == "refresh":
            self._list()


def _folder(location: str) -> str:
    return location if location.endswith("/") else f"{location}/"


def _entry(one: FileInfo) -> dict[str, Any]:
    name = one.location.removesuffix("/").rpartition("/")[2]
    return {"name": name, "location": one.location, "size": one.size, "modified": one.modified}


def _text(location: str, entries: list[dict[str, Any]], more: bool) -> str:
    lines = [location]
    for one in entries:
        size = "-" if one["size"] is None else readable_size(one["size"])
        lines.append(f"  {size:>12}  {one['name']}{'/' if one['size'] is None else ''}")
    return "\n".join(lines + (["  …"] if more else []))
