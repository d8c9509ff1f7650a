"""How a market's commands run on this machine: in containers, in unpacked roots, or as processes of its own."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import Invalid

__all__ = ["Commands"]


def _in_memory() -> str:
    return "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()


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

    def _user(self) -> tuple[int, int] | None:
        if not isinstance(self.user, str):
            return self.user
        try:
            entry = pwd.getpwnam(self.user)
        except KeyError:
            raise Invalid("options_invalid", f"there is no user {self.user}", {"field": "/commands/user"}) from None
        return entry.pw_uid, entry.pw_gid

    def _native(self) -> dict[str, Any]:
        raw = {
            name: str(getattr(self, name)) for name in ("containers", "bubblewrap", "scratch", "helper")
        }
        for name in ("readable", "writable"):
            if isinstance(getattr(self, name), (str, bytes)):
                raise Invalid("options_invalid", f"{name} takes a list of paths", {"field": f"/commands/{name}"})
        for name in ("memory_mb", "disk_mb"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < 1 << 40:
                raise Invalid("options_invalid", f"{name} takes 0 to 2^40 - 1", {"field": f"/commands/{name}"})
        return {
            **raw,
            "user": self._user(),
            "memory_mb": self.memory_mb,
            "disk_mb": self.disk_mb,
            "readable": [os.fspath(one) for one in self.readable],
            "writable": [os.fspath(one) for one in self.writable],
            "network": bool(self.network),
            "allow_bare_host": bool(self.allow_bare_host),
            "roots": {str(image): os.fspath(folder) for image, folder in self.roots.items()},
        }
