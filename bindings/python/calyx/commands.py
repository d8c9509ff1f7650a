"""How a market's commands run on this machine: in containers, in unpacked roots, or as processes of its own."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import Error, Invalid, Stopped, Unavailable

__all__ = ["Commands", "DataSource"]


def _in_memory() -> str:
    return "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()


@dataclass(frozen=True)
class DataSource:
    """An immutable input that a project's manifest declares, as the function ``Commands.data_sources`` is asked for it.

    ``name``, ``type`` (``huggingface``, ``url`` or ``artifact``), ``source``, ``revision``, ``sha256`` and
    ``mount_path`` are the manifest's, empty where it leaves them out; ``project``, ``project_revision`` and
    ``wallet_id`` (None: nobody's) say whose it is. ``stopped()`` is true once nobody waits for it any more.
    """

    name: str
    type: str
    source: str
    revision: str
    sha256: str
    mount_path: str
    project: str
    project_revision: int
    wallet_id: str | None
    stopped: Callable[[], bool] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Commands:
    """What runs a job's ``command``: for :func:`calyx.open` and :class:`Worker`.

    A job's ``image``, or the image that its project's Dockerfile makes, runs in a container where podman or docker
    answers (``containers``: ``auto``, ``none`` or a path); else a folder of ``roots``, which maps images to unpacked
    systems, runs under ``bubblewrap``; else, only with ``allow_bare_host``, the command is a process of this machine.
    ``network`` lets tasks and builds reach it. ``scratch`` is where tasks' files lie, best in memory; ``helper`` is
    the program ``calyx-runner``, which is else looked for beside calyx. ``readable`` and ``writable`` are what
    tasks on the bare host see besides the system's folders and their own. ``memory_mb`` and ``disk_mb`` are what a
    task may take whose job says nothing of it (``requirements.memory_mb``, ``storage_gb``); 0 is no limit. ``user`` is
    as whom commands run where this process is root, a name or (user id, group id): best ``nobody``, who must get
    through to ``scratch`` and to the market's folder.

    ``data_sources`` is a function of a :class:`DataSource` that gives the path of a file or folder of this machine,
    which tasks read and which stays as it is: it is asked for what a project's manifest declares, once a revision. A
    :class:`calyx.Error` that it raises, but :class:`calyx.Unavailable`, is final for the task (``source_refused``);
    whatever else it raises is this machine's failure (``source_unavailable``), and the task is tried again. Without it
    no data source is found here. Below the folder ``caches`` lie the ``cache_mounts`` of projects, which their tasks
    find again; one that has more than ``cache_mb`` (0: no limit), or than its ``size_mb``, is emptied before the next
    task. Without it each task has empty ones.
    """

    allow_bare_host: bool = False
    containers: str = "auto"
    bubblewrap: str = "auto"
    roots: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    scratch: str = field(default_factory=_in_memory)
    helper: str = ""
    readable: Sequence[str] = ()
    writable: Sequence[str] = ()
    memory_mb: int = 4096
    disk_mb: int = 8192
    user: str | tuple[int, int] | None = None
    data_sources: Callable[[DataSource], str | os.PathLike[str]] | None = None
    caches: str | os.PathLike[str] = ""
    cache_mb: int = 8192

    def _user(self) -> tuple[int, int] | None:
        if not isinstance(self.user, str):
            return self.user
        try:
            entry = pwd.getpwnam(self.user)
        except KeyError:
            raise Invalid("options_invalid", f"there is no user {self.user}", {"field": "/commands/user"}) from None
        return entry.pw_uid, entry.pw_gid

    def _find(self, raw: dict[str, Any], stopped: Callable[[], bool]) -> tuple[str, str]:
        """The path, or how it failed and what is wrong."""
        assert self.data_sources is not None
        try:
            return "", os.fspath(self.data_sources(DataSource(**raw, stopped=stopped)))
        except Stopped as error:
            return "stopped", error.message
        except Unavailable as error:
            return "unavailable", error.message
        except Error as error:
            return "refused", error.message

    def _native(self) -> dict[str, Any]:
        raw = {
            name: str(getattr(self, name)) for name in ("containers", "bubblewrap", "scratch", "helper")
        }
        for name in ("readable", "writable"):
            if isinstance(getattr(self, name), (str, bytes)):
                raise Invalid("options_invalid", f"{name} takes a list of paths", {"field": f"/commands/{name}"})
        if not (self.data_sources is None or callable(self.data_sources)):
            raise Invalid("options_invalid", "data_sources takes a function", {"field": "/commands/data_sources"})
        for name in ("memory_mb", "disk_mb", "cache_mb"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 1 << 40:
                raise Invalid("options_invalid", f"{name} takes 0 to 2^40 - 1", {"field": f"/commands/{name}"})
        return {
            **raw,
            "user": self._user(),
            "memory_mb": self.memory_mb,
            "disk_mb": self.disk_mb,
            "cache_mb": self.cache_mb,
            "caches": os.fspath(self.caches),
            "data_sources": None if self.data_sources is None else self._find,
            "readable": [os.fspath(one) for one in self.readable],
            "writable": [os.fspath(one) for one in self.writable],
            "network": bool(self.network),
            "allow_bare_host": bool(self.allow_bare_host),
            "roots": {str(image): os.fspath(folder) for image, folder in self.roots.items()},
        }
