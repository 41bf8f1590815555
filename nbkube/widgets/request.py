"""What a step asks for, as a form."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from nbkube.client import Client
from nbkube.errors import Diagnostic, NbkubeError, Place
from nbkube.pipeline.options import OPTIONS, merge, parse_magic

_FIELDS = ("cpu", "memory", "gpu", "gpu-type", "image", "retries", "timeout")


def _reason(fault: Diagnostic) -> str:
    """Return what is wrong without the place, which is the field it stands at."""
    text = fault.message.removeprefix("option ").partition(": ")[2] or fault.message
    return f"{text}. Fix: {fault.hint}" if fault.hint else text


class ResourceRequest(ipywidgets.VBox):
    """A form for what a step asks for. `value` holds the options that are set and valid, by their names.

    `line` is the same as a line `%%step`, `options` as `Client.run` takes it:

        request = ResourceRequest("train", cpu="2", memory="4Gi")
        Client().run(Path("x.ipynb"), options=request.options)

    Args:
        step: the step that is meant.
        project: a folder of the project; by default the working directory.
        profile: where the step is to run, for what is free there; by default the project's own.
        options: values to begin with, `gpu_type` for `gpu-type`.

    Raises:
        TypeError: there is no such option in the form.
    """

    value = traitlets.Dict()
    fault = traitlets.Unicode()
    step = traitlets.Unicode()

    def __init__(
        self,
        step: str = "step",
        *,
        project: str | os.PathLike[str] | None = None,
        profile: str = "",
        **options: str | int | float,
    ) -> None:
        given = {name.replace("_", "-"): str(one) for name, one in options.items()}
        if unknown := set(given) - set(_FIELDS):
            raise TypeError(f"ResourceRequest has no {', '.join(sorted(unknown))}; it has {', '.join(_FIELDS)}")
        self._client = Client(Path(project) if project is not None else None, profile=profile)
        self._fields = {name: self._field(name, given.get(name, "")) for name in _FIELDS}
        self._told = ipywidgets.Label()
        self._told.add_class("nbk-fault")
        self._free = ipywidgets.Label()
        look = ipywidgets.Button(description="What is free?", tooltip="Ask the place where steps run")
        look.on_click(lambda _: self.look())
        self._busy = False
        super().__init__([*self._fields.values(), self._told, ipywidgets.HBox([look, self._free])], step=step)
        self._read()
        self.observe(self._set, ["value"])
        self.observe(lambda _: self._read(), ["step"])

    def _field(self, name: str, text: str) -> Any:
        option = OPTIONS[name]
        kind = ipywidgets.Combobox if name == "gpu-type" else ipywidgets.Text
        field = kind(value=text, description=name, placeholder=option.help, continuous_update=False)
        field.observe(lambda _: self._read(), ["value"])
        return field

    @property
    def line(self) -> str:
        """The options as the first line of a cell."""
        words = [f"--{name} {shlex.quote(str(text))}" for name, text in self.value.items()]
        return " ".join(["%%step", self.step, *words])

    @property
    def options(self) -> dict[str, dict[str, str]]:
        """The options as `Client.run` takes them."""
        return {self.step: dict(self.value)}

    def look(self) -> None:
        """Ask what is free now where steps run, and show it; kinds of GPUs can then be chosen."""
        try:
            found = self._client.resources()
        except NbkubeError as error:
            self._free.value = str(error)
            return
        from nbkube.preflight.amounts import shown

        names = sorted({name for node in found.nodes for name in node.allocatable})
        parts = [f"{name} {shown(name, found.largest(name, free=True))}" for name in names]
        self._free.value = f"free at most on one machine: {', '.join(parts)}"
        self._fields["gpu-type"].options = sorted({node.product for node in found.nodes if node.product})

    def _read(self) -> None:
        """Take over what the fields say, as far as it is right."""
        if self._busy:
            return
        texts = {name: field.value.strip() for name, field in self._fields.items() if field.value.strip()}
        good: dict[str, str] = {}
        faults: list[str] = []
        for name, text in texts.items():
            place = Place("ResourceRequest")
            _, settings, found = parse_magic(f"{self.step} --{name} {shlex.quote(text)}", place)
            found = [*found, *merge(settings)[1]]
            if found:
                faults += [f"{name}: {_reason(one)}" for one in found]
            else:
                good[name] = text
        self._busy = True
        try:
            self.fault = " ".join(faults)
            self._told.value = self.fault
            self.value = good
        finally:
            self._busy = False

    def _set(self, change: Mapping[str, Any]) -> None:
        """Show a value that was set from outside."""
        if self._busy:
            return
        self._busy = True
        try:
            for name, field in self._fields.items():
                field.value = str(change["new"].get(name, ""))
        finally:
            self._busy = False
        self._read()

    def __repr__(self) -> str:
        lines = [f"what {self.step} asks for"]
        lines += [f"  {name:<9} {self._fields[name].value or '-'}" for name in _FIELDS]
        return "\n".join(lines + ([f"  {self.fault}"] if self.fault else []))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the form, and its text for where no form can be shown."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if isinstance(bundle, dict):
            bundle["text/plain"] = repr(self)
        return bundle
