"""From a notebook's steps to images: requirements, lock, layers, image, registry. What is there already is not done."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

import nbkube
from nbkube.errors import BuildError, RegistryError
from nbkube.images import own, wheels
from nbkube.images.archive import save
from nbkube.images.assemble import added_variables, assemble
from nbkube.images.base import read_base
from nbkube.images.cache import ImageCache
from nbkube.images.layers import compressor, write_layer
from nbkube.images.lock import Locksmith
from nbkube.images.model import SITE, Base, Blob, Environment, Image, LayerPlan, Lock
from nbkube.images.plan import has, plan_layers, satisfied
from nbkube.images.push import Pusher, fetch, size_shown
from nbkube.images.reference import parse
from nbkube.images.registry import Registry
from nbkube.images.requirements import Project, environments
from nbkube.images.uv import Uv
from nbkube.pipeline.model import Wheelhouse
from nbkube.runtime.distributions import installed
from nbkube.storage.model import ObjectStore

REPOSITORY = "nbkube-steps"
"""The repository of images that hold no code, below the profile's registry: all projects share it, and its layers."""

_THREADS = max(2, os.cpu_count() or 1)
Tell = Callable[[str], None]


class Settings(msgspec.Struct, frozen=True):
    """Where images come from and go to, as the profile says.

    `base` "" = the official slim image of this Python; `registry` HOST[:PORT][/PATH] to push to, `pull_registry` the
    same as nodes name it ("" = as we do); `plain_http` hosts that are spoken to without encryption; `ca` a file with
    the certificate authority of registries; `architecture` that of the nodes.
    """

    base: str = ""
    registry: str = ""
    pull_registry: str = ""
    plain_http: tuple[str, ...] = ()
    ca: str = ""
    architecture: str = "amd64"


class Built(msgspec.Struct, frozen=True):
    """An image of some steps: `reference` as pods name it, `reason` why it is this one; bytes and layers sent.

    With a `wheelhouse` the image is the base, and pods unpack the rest from the store.
    """

    steps: tuple[str, ...]
    reference: str
    digest: str
    reason: str
    bytes_pushed: int = 0
    layers_sent: int = 0
    layers_mounted: int = 0
    wheelhouse: Wheelhouse | None = None


class Prepared(msgspec.Struct, frozen=True):
    """An image that is not anywhere yet, with its lock; `image` is None where the base does as it is."""

    environment: Environment
    lock: Lock
    base: Base
    image: Image | None


class Builder:
    """Builds the images of notebooks.

    Args:
        settings: where from and where to.
        cache: what is kept on this machine; None takes the user's.
        tell: takes lines for people.
        refresh: resolve and look at the base anew, whatever is kept.
    """

    def __init__(
        self, settings: Settings, *, cache: ImageCache | None = None, tell: Tell = lambda _: None, refresh: bool = False
    ) -> None:
        self._settings = settings
        self._cache = cache or ImageCache()
        self._tell = tell
        self._refresh = refresh
        self._plans: dict[str, LayerPlan] = {}
        self._again: dict[str, Callable[[], Blob]] = {}
        self._opened: dict[str, Registry] = {}
        self._new: set[str] = set()

    # -- what callers see ------------------------------------------------------------------------------------------

    def environments(self, project: Project, extra: Sequence[str] = ()) -> tuple[Environment, ...]:
        """Return what the steps of a notebook need. Raises what `requirements.environments` does."""
        return environments(project, lambda folder: Uv().export(folder), extra)

    def prepare(self, environment: Environment, baked: Mapping[str, bytes] | None = None) -> Prepared:
        """Make whatever layers of an environment's image are not there yet, and put the image together.

        Args:
            environment: what is needed.
            baked: files of a last layer, by path in the image.

        Raises:
            BuildError: it cannot be built as asked.
            RegistryError: the base's registry or the package index cannot be reached.
        """
        base = self._base()
        smith = Locksmith(self._cache, Uv(), refresh=self._refresh)
        lock = smith.lock([one.text for one in environment.requirements], _versions(), base)
        self._tell_of_devices(lock, base)
        if satisfied(lock, base) and baked is None:
            return Prepared(environment, lock, base, None)
        try:
            return Prepared(environment, lock, base, self._image(lock, base, baked))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                where = self._cache.folder
                raise BuildError(
                    f"the disk with {where} is full. Fix: make room, or set XDG_CACHE_HOME elsewhere."
                ) from None
            raise

    def push(self, prepared: Prepared, repository: str = REPOSITORY) -> Built:
        """Bring an image to the registry.

        Raises:
            BuildError: the profile names no registry.
            RegistryError: the registry does not take it; nothing is half-pushed.
        """
        settings, image = self._settings, prepared.image
        if image is None:
            return self._as_it_is(prepared)
        if not settings.registry:
            raise BuildError(
                'there is no registry to push to. Fix: write registry = "HOST[:PORT]/PATH" in the profile, or write '
                "the image to a file: nbkube build … --output FILE."
            )
        host, name = self._place(repository)
        pusher = Pusher(self._cache, self.registry, self._tell, lambda blob: self._file(blob, image))
        pushed = pusher.push(image, host, name, image.digest[7:19], self._new)
        self._cache.shrink()
        shown = f"{settings.pull_registry or settings.registry}/{repository}@{image.digest}"
        return Built(
            prepared.environment.steps, shown, image.digest, _reason(prepared),
            pushed.bytes_pushed, pushed.sent, pushed.mounted,
        )  # fmt: skip

    def trouble(self, prepared: Prepared, repository: str = REPOSITORY) -> str:
        """Tell why an image cannot be brought to the registry; "" if it can, or is there."""
        if prepared.image is None:
            return ""
        if not self._settings.registry:
            return "the profile names no registry"
        host, name = self._place(repository)
        registry = self.registry(host)
        try:
            if not registry.has_manifest(name, prepared.image.digest):
                registry.try_writing(name)
        except RegistryError as error:
            return str(error)
        return ""

    def store(self, prepared: Prepared, store: ObjectStore, reason: str) -> Built:
        """Bring what an image adds to its base to a store, from which pods unpack it into the base.

        Args:
            prepared: the image.
            store: the store that the pods read, too.
            reason: why this way was chosen.

        Raises:
            StorageError: the store does not take it.
        """
        image = prepared.image
        if image is None:
            return self._as_it_is(prepared)
        own = set(image.own)

        def put(blob: Blob) -> str:
            return store.put_file(self._file(blob, image))

        with ThreadPoolExecutor(_THREADS) as pool:
            layers = list(pool.map(put, [blob for blob in image.layers if blob.digest in own]))
        self._cache.shrink()
        digest = store.put(msgspec.json.encode({"layers": layers}))
        wheelhouse = Wheelhouse(digest, SITE, added_variables(image.base))
        reference = self._base_reference(prepared)
        return Built(
            prepared.environment.steps, reference, prepared.base.digest,
            f"the base and distributions from the store: {reason}; {_lacks(prepared)}", wheelhouse=wheelhouse,
        )  # fmt: skip

    def save(self, prepared: Sequence[Prepared], place: Path, repository: str = REPOSITORY) -> tuple[Built, ...]:
        """Write images to one file (or into a folder that is there) and return them by the names they have in it.

        Raises what `prepare` does.
        """
        named = []
        built = []
        for one in prepared:
            if one.image is None:
                built.append(self._as_it_is(one))
                continue
            name = f"{self._settings.registry or 'nbkube.local'}/{repository}:{one.image.digest[7:19]}"
            named.append((one.image, name))
            built.append(Built(one.environment.steps, name, one.image.digest, _reason(one)))
        if named:
            bases = {blob.digest: image for image, _ in named for blob in image.layers}
            save(named, place, lambda blob: self._file(blob, bases[blob.digest]))
        self._cache.shrink()
        return tuple(built)

    def described(self, prepared: Prepared) -> Built:
        """Return what an image would be, without bringing it anywhere."""
        if prepared.image is None:
            return self._as_it_is(prepared)
        return Built(prepared.environment.steps, "", prepared.image.digest, _reason(prepared))

    def registry(self, host: str) -> Registry:
        """Return a registry; one connection pool for each."""
        if host not in self._opened:
            plain = host in self._settings.plain_http
            self._opened[host] = Registry(host, plain_http=plain, ca=self._settings.ca)
        return self._opened[host]

    # -- the parts -------------------------------------------------------------------------------------------------

    def _place(self, repository: str) -> tuple[str, str]:
        host, slash, path = self._settings.registry.partition("/")
        return host, f"{path}/{repository}" if slash else repository

    def _as_it_is(self, prepared: Prepared) -> Built:
        name = self._base_reference(prepared)
        reason = "the base as it is: it has all distributions"
        return Built(prepared.environment.steps, name, prepared.base.digest, reason)

    def _base_reference(self, prepared: Prepared) -> str:
        """Return the base by its digest as nodes name it."""
        settings, reference = self._settings, parse(prepared.base.reference)
        host = reference.host
        if settings.pull_registry and host == settings.registry.partition("/")[0]:
            host = settings.pull_registry.partition("/")[0]
        return f"{host}/{reference.repository}@{prepared.base.digest}"

    def _base(self) -> Base:
        text = self._settings.base or f"python:{wheels.PYTHON}-slim"
        base = read_base(text, self._settings.architecture, self._cache, self.registry, self._tell, fresh=self._refresh)
        if base.python != wheels.PYTHON:
            raise BuildError(
                f"the base {base.reference} has Python {base.python}, the notebook runs on {wheels.PYTHON}; values and "
                f"wheels of one do not fit the other. Fix: set base to an image with Python {wheels.PYTHON}."
            )
        return base

    def _tell_of_devices(self, lock: Lock, base: Base) -> None:
        if not base.cuda:
            return
        self._tell(f"{base.reference} brings CUDA {base.cuda}, which is left as it is")
        for one in lock.wheels:
            there = base.distributions.get(one.name, "")
            if "+" in there and not has(base, one):
                self._tell(
                    f"{one.name} {one.version} goes over the base's {there}, with the CUDA of its wheels; to keep the "
                    f"base's: --require {one.name}=={there.partition('+')[0]}"
                )

    def _image(self, lock: Lock, base: Base, baked: Mapping[str, bytes] | None) -> Image:
        plans = plan_layers(lock, base, compressor(), wheels.VERSION)
        layers = self._layers(plans, base)
        made = [(blob, _contents(plan)) for plan, blob in zip(plans, layers, strict=True)]
        made.append((self._package(), "nbkube"))
        command = ["python3"]
        if baked is not None:
            made.append((self._own("baked", own.key(baked), lambda: baked), "the notebook with its project"))
            command = ["python3", "-m", "nbkube.baked"]
        labels = {"nbkube.lock": lock.digest, "nbkube.version": nbkube.__version__, "nbkube.compressor": compressor()}
        return assemble(base, made, labels, command)

    def _layers(self, plans: Sequence[LayerPlan], base: Base) -> list[Blob]:
        """Return the layers of plans; those that are not known are made, several at once."""
        known = [self._cache.note("layers", plan.key, Blob) for plan in plans]
        missing = sum(1 for one in known if one is None)
        if missing:
            self._tell(f"{missing} of {len(plans)} layers to be made")
        with ThreadPoolExecutor(_THREADS) as pool:
            steps = {
                plan.key: pool.submit(self._make, plan, base)
                for plan, blob in zip(plans, known, strict=True)
                if not blob
            }
            try:
                found = [blob or steps[plan.key].result() for plan, blob in zip(plans, known, strict=True)]
            except BaseException:
                for step in steps.values():
                    step.cancel()
                raise
        for plan, blob in zip(plans, found, strict=True):
            self._plans[blob.digest] = plan
        return found

    def _make(self, plan: LayerPlan, base: Base) -> Blob:
        uv = Uv()
        files: dict[str, bytes | Path] = {}
        programs: set[str] = set()
        with tempfile.TemporaryDirectory(prefix="tree-", dir=self._cache.work) as name:
            for number, wheel in enumerate(plan.wheels):
                tree = Path(name) / str(number)
                wheels.install(wheel, tree, base, uv)
                more, run = wheels.files(tree, compiled=plan.runtime)
                files |= more
                programs |= run
            blob = self._keep(plan.key, files, programs)
        self._tell(f"made {_contents(plan)}, {size_shown(blob.size)}")
        return blob

    def _package(self) -> Blob:
        """Return the layer of nbkube itself; its files are read only where one of them has changed."""
        stamp = own.stamp()
        known = self._cache.note("packages", stamp, str)
        if known is None:
            known = own.key(own.package())
            self._cache.keep_note("packages", stamp, known)

        def make() -> dict[str, bytes]:
            with tempfile.TemporaryDirectory(prefix="tree-", dir=self._cache.work) as name:
                return own.compiled(own.package(), Path(name))

        return self._own("package", known, make)

    def _own(self, kind: str, content: str, make: Callable[[], Mapping[str, bytes]]) -> Blob:
        """Return the layer of files that are not from an index; `content` stands for what they hold."""
        key = f"{kind} {content} {compressor()} {wheels.VERSION}"

        def again(key: str = key) -> Blob:
            files = make()
            return self._keep(key, files, {one for one in files if "/bin/" in one})

        known = self._cache.note("layers", key, Blob)
        blob = known or again()
        if known is None and kind == "baked":
            self._new.add(blob.digest)  # nobody else makes layers of this project
        self._again[blob.digest] = again
        return blob

    def _keep(self, key: str, files: Mapping[str, bytes | Path], programs: set[str]) -> Blob:
        blob, file = write_layer(files, self._cache.work, programs)
        self._cache.keep_blob(blob.digest, file)
        self._cache.keep_note("layers", key, blob)
        return blob

    def _file(self, blob: Blob, image: Image) -> Path:
        """Return the file of a layer, which is made or fetched once more if it was removed meanwhile."""
        found = self._cache.blob(blob.digest)
        if found is None and blob.digest in self._plans:
            self._make(self._plans[blob.digest], image.base)
            found = self._cache.blob(blob.digest)
        elif found is None and blob.digest in self._again:
            self._again[blob.digest]()
            found = self._cache.blob(blob.digest)
        if found is not None:
            return found
        if blob.digest in image.own:
            raise BuildError(
                f"the layer {blob.digest[7:19]} is not made as it was. Fix: remove {self._cache.folder}, build again."
            )
        base = parse(image.base.reference)
        self._tell(f"fetching {blob.digest[7:19]} of the base image, {size_shown(blob.size)}")
        return fetch(self.registry(base.host), base.repository, blob, self._cache)


def _versions() -> dict[str, str]:
    return installed().versions


def _contents(plan: LayerPlan) -> str:
    first = plan.wheels[0]
    rest = f" and {len(plan.wheels) - 1} more" if len(plan.wheels) > 1 else ""
    return f"{first.name} {first.version}{rest}"


def _reason(prepared: Prepared) -> str:
    return f"an image of its own: {_lacks(prepared)}"


def _lacks(prepared: Prepared) -> str:
    base = prepared.base
    missing = [one.name for one in prepared.lock.wheels if not has(base, one)]
    few = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
    lacks = f"lacks {len(missing)} distributions ({few})" if missing else "has all distributions, but not this nbkube"
    return f"the base {lacks}"
