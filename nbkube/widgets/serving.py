"""Serving a model, as a form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from nbkube.client import Client
from nbkube.errors import NbkubeError


class ServeModel(ipywidgets.VBox):
    """A form that serves a model of the project. `value` is the endpoint: name, version, url, phase; empty for none.

        form = ServeModel("digits")
        form.serve()
        form.predict(images[:3])

    The endpoint goes on when the kernel ends; `stop` ends it.

    Args:
        name: the model to begin with; by default the first one.
        project: a folder of the project; by default the working directory.
        workers: processes that predict.
    """

    value = traitlets.Dict()
    fault = traitlets.Unicode()

    def __init__(self, name: str = "", *, project: str | os.PathLike[str] | None = None, workers: int = 2) -> None:
        self._client = Client(Path(project) if project is not None else None)
        self._model = ipywidgets.Dropdown(description="model")
        self._version = ipywidgets.Dropdown(description="version")
        self._workers = ipywidgets.BoundedIntText(workers, min=1, max=16, description="workers")
        self._told = ipywidgets.Label()
        buttons = [ipywidgets.Button(description=text) for text in ("Serve", "Stop", "Look again")]
        for button, action in zip(buttons, (self.serve, self.stop, self.look), strict=True):
            button.on_click(lambda _, action=action: self._guarded(action))
        super().__init__([self._model, self._version, self._workers, ipywidgets.HBox(buttons), self._told])
        self._versions: dict[str, list[int]] = {}
        self._model.observe(self._offer, ["value"])
        self._guarded(self.look)
        if name:
            if name not in self._versions:
                self._show(f"there is no model {name}.")
            else:
                self._model.value = name

    def look(self) -> None:
        """Look for models and for what is being served."""
        self._versions = {
            name: [one.version for one in reversed(found)] for name, found in self._client.models().items()
        }
        chosen = self._model.value
        self._model.options = list(self._versions)
        if self._versions:
            self._model.value = chosen if chosen in self._versions else next(iter(self._versions))
        self._offer({})

    def serve(self) -> Mapping[str, Any]:
        """Serve the chosen version, or go over to it; return the endpoint, which is ready then.

        Raises:
            NbkubeError: there is no model, or it cannot be served.
        """
        name = self._chosen()
        self._told.value = f"{name} is starting: it is ready when it has answered its example."
        endpoint = self._client.serve(name, self._version.value, workers=self._workers.value)
        self._take(name)
        self._show(f"{name} version {endpoint.version} is {endpoint.phase} at {endpoint.url}", fault="")
        return dict(self.value)

    def stop(self) -> None:
        """Let the endpoint finish what it has and end.

        Raises:
            NbkubeError: there is none.
        """
        name = self._chosen()
        self._client.stop_endpoint(name)
        self._take(name)
        self._show(f"{name} is stopped.", fault="")

    def predict(self, rows: Any = None) -> Any:
        """Ask the endpoint about rows, an array or a table; without them about the model's example.

        Raises:
            NbkubeError: nothing is being served, or the endpoint does not take the input.
        """
        return self._client.predict(self._chosen(), rows)

    def _chosen(self) -> str:
        if not self._model.value:
            raise NbkubeError("no model is registered. Fix: run a notebook with a step that has the option model.")
        return str(self._model.value)

    def _offer(self, _: Mapping[str, Any]) -> None:
        """Offer the versions of the chosen model, and show its endpoint."""
        versions = self._versions.get(self._model.value, [])
        self._version.options = versions
        self._version.value = versions[0] if versions else None
        self._take(self._model.value)

    def _take(self, name: str | None) -> None:
        going = [one for one in self._client.endpoints() if one.name == name and one.phase == "Ready"]
        self.value = (
            {"name": going[0].name, "version": going[0].version, "url": going[0].url, "phase": going[0].phase}
            if going
            else {}
        )
        if going:
            self._version.value = going[0].version

    def _guarded(self, action: Any) -> None:
        """Do what a button asks for; what goes wrong is shown."""
        try:
            action()
        except NbkubeError as error:
            self._show(str(error))

    def _show(self, text: str, fault: str | None = None) -> None:
        self._told.value = text
        self.fault = text if fault is None else fault

    def __repr__(self) -> str:
        models = ", ".join(f"{name} {versions[0]}" for name, versions in self._versions.items())
        served = f"; {self.value['name']} is {self.value['phase']} at {self.value['url']}" if self.value else ""
        return f"models: {models or 'none'}{served}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the form, and its text for where no form can be shown."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if isinstance(bundle, dict):
            bundle["text/plain"] = repr(self)
        return bundle
