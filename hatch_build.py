"""Build hook: puts the built JupyterLab extension into the wheel.

A standard wheel builds the extension first where it has not been built and node is there. An editable install never
does (`make lab` builds it then), so that nobody needs node to work on the Python part. Where the extension is left out,
all else works. NBKUBE_LABEXTENSION=require makes leaving it out an error, =skip never builds it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class LabExtensionHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds `nbkube/labextension` as a data folder of Jupyter."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs beside hatchling: the builder of JupyterLab, if it will be called."""
        return ["jupyter-builder>=1.2,<2"] if self._can_build() and not self._is_built() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the extension if need be, and declare its files."""
        if self.target_name != "wheel":
            return
        wanted = os.environ.get("NBKUBE_LABEXTENSION", "")
        if version != "editable" and not self._is_built() and self._can_build():
            self._build()
        if self._is_built():
            place = "share/jupyter/labextensions/nbkube"
            build_data["shared_data"][str(self._built)] = place
            # `make lab` links the folder into the environment, so that an earlier install may have left the file in it.
            if not (self._built / "install.json").is_file():
                build_data["shared_data"]["labextension/install.json"] = f"{place}/install.json"
        elif wanted == "require":
            raise RuntimeError("the JupyterLab extension is not built. Fix: install node 20 or newer, or `make lab`.")
        else:
            self.app.display_warning("nbkube: without the JupyterLab extension, which needs node 20 to be built.")

    @property
    def _built(self) -> Path:
        return Path(self.root, "nbkube", "labextension")

    def _is_built(self) -> bool:
        return (self._built / "package.json").is_file()

    def _can_build(self) -> bool:
        sources = Path(self.root, "labextension", "package.json").is_file()
        return sources and shutil.which("node") is not None and os.environ.get("NBKUBE_LABEXTENSION") != "skip"

    def _build(self) -> None:
        for command in (["jlpm", "install", "--immutable"], ["jlpm", "build:prod"]):
            subprocess.run(command, cwd=Path(self.root, "labextension"), check=True)
