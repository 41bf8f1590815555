"""The images that a notebook's steps need, as its profile says."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from nbkube.errors import BuildError, RegistryError
from nbkube.notebook.names import slug

if TYPE_CHECKING:
    from nbkube.engines.model import Listener
    from nbkube.images import Built, Environment
    from nbkube.images.build import Builder, Prepared
    from nbkube.images.requirements import Project
    from nbkube.plan import Plan
    from nbkube.profiles.model import Profile
    from nbkube.storage.model import ObjectStore


def build_images(
    profile: Profile,
    plan: Plan,
    tell: Listener,
    *,
    push: bool = True,
    output: Path | None = None,
    bake: bool = False,
    refresh: bool = False,
    extra: Sequence[str] = (),
    only: Collection[str] | None = None,
    found: Callable[[tuple[Environment, ...]], None] = lambda _: None,
    store: ObjectStore | None = None,
) -> tuple[Built, ...]:
    """Build the images of a notebook's steps, push them or write them to a file, and return them.

    Args:
        profile: the base, the registry.
        plan: the notebook.
        tell: gets an `image` event with a message for each thing done.
        push: bring them to the profile's registry.
        output: a file, or a folder that is there, to write them to.
        bake: add the notebook and the project's files, so that the image alone runs every step.
        refresh: resolve anew.
        extra: requirements to add, "-NAME" to leave out.
        only: names of the units that need an image; None for all.
        found: is told the environments before anything is built.
        store: where pods may take what the base lacks from, if the registry does not take an image; None: they may not.

    Raises:
        BuildError: an image cannot be built.
        RegistryError: a registry or package index cannot be reached.
        StorageError: the store cannot be reached.
    """
    builder = _builder(profile, tell, refresh=refresh)
    environments = builder.environments(_project(plan), extra)
    if only is not None:
        chosen = (replace(one, steps=tuple(step for step in one.steps if step in only)) for one in environments)
        environments = tuple(one for one in chosen if one.steps)
    found(environments)
    for note in dict.fromkeys(note for one in environments for note in one.notes):
        tell({"event": "warning", "message": note})
    baked = _baked(plan) if bake else None
    prepared = [builder.prepare(one, baked) for one in environments]
    repository = f"nbkube-{slug(plan.pipeline.name)[:40].strip('-') or 'notebook'}" if bake else "nbkube-steps"
    built = builder.save(prepared, output, repository) if output else ()
    if push:
        built = tuple(_brought(profile, builder, one, repository, store) for one in prepared)
    return built or tuple(builder.described(one) for one in prepared)


def _brought(profile: Profile, builder: Builder, one: Prepared, repository: str, store: ObjectStore | None) -> Built:
    """Bring an image to where pods get it: the registry, or the store if that is asked for or the registry fails."""
    if store is None or profile.packaging == "image":
        return builder.push(one, repository)
    chosen = profile.packaging == "wheelhouse"
    trouble = "the profile says so (packaging)" if chosen else builder.trouble(one, repository)
    if not trouble or one.image is None:
        return builder.push(one, repository)
    if profile.gives_wheels:
        return builder.store(one, store, _first_sentence(trouble))
    needed = (
        f'Pods could unpack distributions from the store instead: write secret = "NAME" of a Secret with its keys '
        f"below [profiles.{profile.name}.store]."
    )
    if chosen or not profile.registry:
        raise BuildError(f"{_first_sentence(trouble)}, and no store.secret. {needed}")
    raise RegistryError(f"{trouble} {needed}")


def _first_sentence(text: str) -> str:
    return text.partition(" Fix: ")[0].rstrip(".")


def _builder(profile: Profile, tell: Listener, *, refresh: bool) -> Builder:
    from nbkube.images.build import Builder, Settings

    settings = Settings(
        base=profile.base,
        registry=profile.registry,
        pull_registry=profile.pull_registry,
        plain_http=profile.plain_http,
        ca=profile.registry_ca,
        architecture=profile.architecture,
    )
    return Builder(settings, tell=lambda text: tell({"event": "image", "message": text}), refresh=refresh)


def _project(plan: Plan) -> Project:
    from nbkube.images.requirements import Project

    return Project(plan.root, plan.pipeline.notebook, plan.notebook, plan.programs, plan.pipeline.flow.edges)


def _baked(plan: Plan) -> dict[str, bytes]:
    from nbkube.images.own import project_files

    with tempfile.TemporaryDirectory(prefix="nbkube-bake-") as name:
        return project_files(plan.files(Path(name)), plan.notebook)
