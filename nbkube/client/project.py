"""A project with its profile: where its results lie, where it runs, what stands in its way there."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.cluster import Cluster
    from nbkube.cluster.capacity import Capacity
    from nbkube.engines.argo.control import ArgoControl
    from nbkube.engines.control import RunControl
    from nbkube.labs import Labs
    from nbkube.preflight.doctor import Check
    from nbkube.profiles import Profile, Profiles
    from nbkube.remote import Remote
    from nbkube.runs import RunStore
    from nbkube.storage.files import Storage
    from nbkube.storage.model import ObjectStore

STORE_FOLDER = ".nbkube"


class Project:
    """A project with its profile: where its results lie, where it runs, what stands in its way there."""

    def __init__(self, project: Path | None = None, *, store: str | None = None, profile: str = "") -> None:
        self._project = project
        self._store_url = store
        self._profile_name = profile

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self._root()

    def _root(self, notebook: Path | None = None) -> Path:
        from nbkube.state.snapshot import find_root

        return find_root(notebook or (self._project or Path.cwd()) / "notebook")

    @property
    def store_url(self) -> str:
        """The address of the store of this client's project."""
        return self._store().url

    def _nearby_store(self, root: Path) -> ObjectStore | None:
        """Return the store if looking into it opens no connection, or if a person has named it; else None."""
        try:
            store = self._store(root)
        except NbkubeError:
            return None  # what is wrong with it is told by whoever needs it
        return store if self._store_url is not None or store.url.startswith("file:") else None

    def _store(self, root: Path | None = None) -> ObjectStore:
        from nbkube.storage import open_store

        place = root or self._root()
        if self._store_url:
            return open_store(self._store_url)
        chosen = self.profile(place).store
        if "://" not in chosen.url:
            return open_store(place / (chosen.url or STORE_FOLDER))
        return open_store(chosen.url, _with(chosen.variables()))

    def _control(self, root: Path | None = None) -> RunControl:
        from nbkube.engines.control import RunControl

        root = root or self._root()
        # The steps see the same variables, so that their cells read the same bucket.
        return RunControl(self._store(root), root / STORE_FOLDER / "work", self.profile(root).store.variables())

    def _remote(self, root: Path | None = None) -> Remote:
        from nbkube.remote import Remote

        root = root or self._root()
        return Remote(self.profile(root), self._store(root), root / STORE_FOLDER / "work")

    def _control_of(self, run_id: str, root: Path | None = None) -> RunControl | ArgoControl:
        on_cluster = self._runs(root).run(run_id).engine == "argo"
        return self._remote(root).control() if on_cluster else self._control(root)

    def _runs(self, root: Path | None = None) -> RunStore:
        from nbkube.runs import RunStore

        return RunStore(self._store(root))

    def profiles(self) -> Profiles:
        """Return all profiles that the project's and the user's nbkube.toml hold.

        Raises:
            ProfileError: a file is wrong.
        """
        from nbkube.profiles import load_profiles

        return load_profiles(self._root())

    def profile(self, root: Path | None = None) -> Profile:
        """Return the profile in force (of the project at `root`, by default this one's).

        Raises:
            ProfileError: there is no such profile, or a file is wrong.
        """
        from nbkube.profiles import load_profile

        return load_profile(self._profile_name, root or self._root())

    def add_profile(self, name: str, settings: Mapping[str, str], *, for_user: bool = False) -> Path:
        """Add a profile to the project's nbkube.toml, or the user's own, and return the file's path.

        Raises:
            ProfileError: there is one of this name in the file, or a setting is wrong; nothing is written.
        """
        from nbkube.profiles import user_file
        from nbkube.profiles.write import FILE, add_profile

        return add_profile(user_file() if for_user else self._root() / FILE, name, settings)

    def manifests(
        self,
        namespace: str = "",
        *,
        users: Sequence[str] = (),
        groups: Sequence[str] = (),
        capacity: bool = False,
        serving: bool = False,
    ) -> str:
        """Return as YAML what an admin applies so that the profile's namespace can run notebooks, and serve models.

        Raises:
            ProfileError: no namespace is named.
        """
        from nbkube.profiles.manifests import as_yaml, manifests

        profile = self.profile()
        found = manifests(profile, namespace, users=users, groups=groups, capacity=capacity, serving=serving)
        return as_yaml(profile, found)

    def cluster(self) -> Cluster:
        """Return the profile's cluster; nothing is sent yet.

        Raises:
            ClusterError: no cluster is known here.
        """
        from nbkube.cluster import connect

        profile = self.profile()
        return connect(profile.context, profile.namespace)

    def labs(self) -> Labs:
        """Return the notebook servers in the profile's namespace; nothing is sent yet.

        Raises:
            ClusterError: no cluster is known here.
        """
        from nbkube.labs import Labs

        return Labs(self.cluster(), self.profile())

    def doctor(self) -> Iterator[Check]:
        """Look at everything a run with the profile needs, and yield what was found of each part."""
        from nbkube.preflight.doctor import examine

        yield from examine(self.profile(), self.cluster, self._store)

    def resources(self) -> Capacity:
        """Return what there is and what is free: on the profile's cluster, or on this machine.

        Raises:
            ClusterError: the cluster cannot be reached.
        """
        from nbkube.cluster.capacity import survey
        from nbkube.preflight.machine import this_machine

        return survey(self.cluster()) if self.profile().engine == "argo" else this_machine()

    def storage(self, environment: Mapping[str, str] | None = None, patience: float | None = None) -> Storage:
        """Return files in buckets (on the server of the profile, else of the environment) and folders.

        `environment` is what the profile's variables are laid over, by default the process's own; `patience` is for
        how many seconds a server that does not answer is asked again.
        """
        from nbkube.storage.files import Storage

        variables = self.profile().store.variables()
        return Storage("", _with(variables) if environment is None else {**environment, **variables}, patience)

    def storage_place(self) -> str:
        """Return the place of this project's files: that of `nbkube.storage()`, the profile's store, or the project."""
        store = self.profile().store
        return store.files or os.environ.get("NBKUBE_STORAGE") or store.url or f"{self._root()}/"


def _with(variables: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment of this process, as it is whenever it is asked, with other variables before it."""
    return ChainMap(dict(variables), os.environ)
