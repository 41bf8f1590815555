"""Images of a notebook's steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbkube.client.notebooks import Notebooks, Options

if TYPE_CHECKING:
    from nbkube.engines.model import Listener
    from nbkube.images import Built, Environment


def _silent(_: Mapping[str, Any]) -> None:
    return None


class Images(Notebooks):
    """Images of a notebook's steps."""

    def build(
        self,
        path: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        push: bool = False,
        output: Path | None = None,
        bake: bool = False,
        refresh: bool = False,
        extra: Sequence[str] = (),
        on_event: Listener = _silent,
        found: Callable[[tuple[Environment, ...]], None] = lambda _: None,
    ) -> tuple[Built, ...]:
        """Build the images of a notebook's steps, one for each distinct environment, and return them.

        `output` is a file for `kind load image-archive` and its like, or a folder that is there; with `bake` the image
        holds notebook and project, too. `extra` are requirements to add, "-NAME" to leave out; `found` is told what is
        needed before anything is built.

        Raises:
            NotebookError: the notebook is wrong.
            BuildError: an image cannot be built, or there is no registry to push to.
            RegistryError: a registry or the package index cannot be reached; nothing is half-pushed.
        """
        from nbkube.building import build_images
        from nbkube.plan import Plan

        plan = Plan.of(self._pipeline(path, parameters, options), path)
        return build_images(
            self.profile(plan.root), plan, on_event,
            push=push, output=output, bake=bake, refresh=refresh, extra=extra, found=found,
        )  # fmt: skip
