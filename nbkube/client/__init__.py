"""The one service layer: command line, magics, widgets and server call this and nothing below it.

A `Client` belongs to a project (a folder) and its store. Everything is synchronous; progress is handed to a listener
that may be called from any thread.
"""

from __future__ import annotations

from nbkube.client.images import Images
from nbkube.client.project import STORE_FOLDER
from nbkube.client.results import Artifacts, Results
from nbkube.client.running import Running
from nbkube.client.serving import Serving

__all__ = ["STORE_FOLDER", "Artifacts", "Client"]


class Client(Images, Running, Results, Serving):
    """Show, check, build, run and verify the notebooks of a project, look at its runs, and serve the models they made.

    Args:
        project: a folder of the project, by default the working directory. A notebook given to a method decides for
            itself: its project is found from its own place.
        store: folder or bucket that holds results; by default the profile's, else `.nbkube` in the project's root.
        profile: name of the profile; "" takes $NBKUBE_PROFILE, else the default of nbkube.toml, else `local`.
    """
