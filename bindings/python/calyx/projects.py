"""Projects: code of your own, pushed as a folder or a tarball, that the commands of jobs run.

>>> project = wallet.create_project("code")
>>> project.push("./code").number
1
>>> job = wallet.submit(project="code", command="python3 fit.py", max_budget=4.00)
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Union

from .errors import Invalid, NotFound
from .jobs import _SLICE_MS
from .wallet import Wallet, maybe_text_in, pages, text_in, wallet_id_in, whole_in

if TYPE_CHECKING:
    from . import _native
    from .market import Session

_TARBALL_BYTES_MAX = 512 << 20  # as tarball_bytes_max
_EXPANDED_BYTES_MAX = 4 << 30  # what a push unpacks at most
_LEFT_OUT = frozenset({".git", "__pycache__"})

#: A tarball's bytes, or the path of a tarball or of a folder.
Pushed = Union[bytes, bytearray, memoryview, str, "os.PathLike[str]"]


@dataclass(frozen=True)
class ProjectFile:
    """A file of a revision; its ``mode`` is 0o755 or 0o644."""

    path: str
    size: int
    mode: int
    sha256: str


@dataclass(frozen=True)
class Revision:
    """What a push published. ``added``, ``removed`` and ``changed`` are the paths that differ from the one before."""

    number: int
    at: datetime
    #: Of the tarball as it was pushed, and its bytes.
    sha256: str
    size: int
    files: list[ProjectFile]
    #: ``computalot.project.json``, empty where there is none.
    manifest: dict[str, Any]
    added: list[str]
    removed: list[str]
    changed: list[str]


@dataclass(frozen=True)
class ProjectStatus:
    """Whether a project takes jobs, and is prepared for them, which it need not be for a submit."""

    name: str
    can_accept_new_jobs: bool
    ready_for_jobs: bool
    active_revision: int
    #: ``none``, ``published``, ``warm`` or ``invalidated``.
    revision_state: str


@dataclass(frozen=True)
class ProjectDetails:
    """A status with its active revision, without what that changed, and what is noticed of it."""

    status: ProjectStatus
    revision: Revision | None
    #: Each with ``code``, ``message`` and ``recommended_action``, which is None where nothing need be done.
    diagnostics: list[dict[str, Any]]


@dataclass(frozen=True)
class ProjectNews:
    """How a project's status stands (``snapshot``), what it became (``event``), or that it is gone (``end``)."""

    kind: str
    #: A stream with this as ``after`` goes on behind it.
    cursor: str
    status: ProjectStatus


@dataclass(frozen=True)
class KvEntry:
    """A value under a key of a project. ``version`` is 1 for the first value, and one more each time."""

    key: str
    value: Any
    version: int


@dataclass(frozen=True)
class Project:
    """A project as it was read. Each call asks the market, and may raise ``NotFound`` (``project_unknown``)."""

    name: str
    #: Whose it is; None: nobody's, for jobs that nobody pays for.
    wallet_id: str | None
    remote_dir: str
    description: str
    created_at: datetime
    _session: Session = field(repr=False, compare=False)

    def _ask(self, call: str, *more: Any) -> Any:
        return getattr(self._session._native, call)(self.name, self.wallet_id, *more)

    @property
    def status(self) -> ProjectStatus:
        """Whether it takes jobs, and is prepared for them, as it stands now."""
        return ProjectStatus(**self._ask("project_status"))

    def status_details(self) -> ProjectDetails:
        """Its status, its active revision, and what would help."""
        raw = self._ask("project_details")
        revision = None if raw["revision"] is None else _revision_of(raw["revision"])
        return ProjectDetails(ProjectStatus(**raw["status"]), revision, raw["diagnostics"])

    def push(self, source: Pushed) -> Revision:
        """Publishes a revision, whole or not at all: the active one for jobs from now on.

        ``source`` is a tarball's bytes, the path of one, or a folder, which is packed in memory without its ``.git``
        and ``__pycache__``; the same files give the same bytes.

        Raises ``Invalid`` (``archive_refused`` with the broken ``rule``, as ``symbolic_link``; ``field_…`` of the
        manifest), ``NotFound`` (``file_missing``), ``Unsupported`` (``unsupported``: a market in memory;
        ``read_only``; ``not_built``), and :class:`OSError` for what cannot be read.
        """
        return _revision_of(self._ask("push_project", tarball_of(source)))

    def init(self) -> ProjectStatus:
        """Prepares the active revision ahead of a job. Free, but its wallet has 500 FLOPS available.

        Raises ``Conflict`` (``project_not_ready``: nothing was pushed), ``Refused`` (``insufficient_balance``) or
        ``Unsupported``.
        """
        return ProjectStatus(**self._ask("init_project"))

    def invalidate(self) -> ProjectStatus:
        """Has the active revision prepared anew."""
        return ProjectStatus(**self._ask("invalidate_project"))

    def change(self, *, remote_dir: str | None = None, description: str | None = None) -> Project:
        """Changes what is given; the project as it is then. Raises ``Invalid`` (``field_value``)."""
        texts = maybe_text_in(remote_dir, "/remote_dir"), maybe_text_in(description, "/description")
        return project_of(self._ask("change_project", *texts), self._session)

    def delete(self) -> None:
        """Takes the name away. Jobs that were submitted keep their revision."""
        self._ask("delete_project")

    def kv_get(self, key: str) -> KvEntry:
        """Shared state under ``key``. Raises ``NotFound`` (``kv_unknown``)."""
        return KvEntry(**self._ask("kv_get", text_in(key, "key")))

    def kv_put(self, key: str, value: Any, version: int | None = None) -> KvEntry:
        """Keeps ``value``, which is JSON; with the ``version`` that it was made from (0: none) only onto that one.

        Raises ``Conflict`` (``kv_changed`` with the ``version`` that stands) and ``Invalid`` (``field_…``).
        """
        onto = None if version is None else whole_in(version, "/version")
        return KvEntry(**self._ask("kv_put", text_in(key, "key"), value, onto))

    def stream(self, after: str = "") -> Iterator[ProjectNews]:
        """How its status stands, unless that is ``after``, and what it becomes, until the project is deleted."""
        stream: _native.ProjectStream = self._ask("stream_project", text_in(after, "after"))

        def walk() -> Iterator[ProjectNews]:
            while not stream.ended:
                raw = stream.next(_SLICE_MS)
                if raw is not None:
                    yield ProjectNews(raw["kind"], raw["cursor"], ProjectStatus(**raw["status"]))

        return walk()


def project_of(raw: dict[str, Any], session: Session) -> Project:
    """``raw`` without its revision, which the status tells as it stands."""
    return Project(**{name: value for name, value in raw.items() if name != "active_revision"}, _session=session)


def _revision_of(raw: dict[str, Any]) -> Revision:
    return Revision(**{**raw, "files": [ProjectFile(**one) for one in raw["files"]]})


class ProjectsOfSession:
    """What a session may do with projects."""

    __slots__ = ()

    if TYPE_CHECKING:
        _native: _native.Session

    def create_project(
        self, name: str, *, description: str = "", remote_dir: str = "", wallet: Wallet | str | None = None
    ) -> Project:
        """A project of this session's wallet, or of ``wallet``. ``remote_dir`` is a label of yours.

        Raises ``Invalid`` (``field_value``) or ``Conflict`` (``project_exists``).
        """
        texts = text_in(remote_dir, "/remote_dir"), text_in(description, "/description")
        return self._project_of(self._native.create_project(text_in(name, "/name"), _maybe_id_in(wallet), *texts))

    def project(self, name: str, *, wallet: Wallet | str | None = None) -> Project:
        """The project of that name. Raises ``NotFound`` (``project_unknown``), also for somebody else's."""
        return self._project_of(self._native.project(text_in(name, "name"), _maybe_id_in(wallet)))

    def projects(self, limit: int | None = None, *, wallet: Wallet | str | None = None) -> Iterator[Project]:
        """The projects that this session may read, or those of ``wallet``, the oldest first."""
        whose = _maybe_id_in(wallet)
        return pages(lambda after, size: self._native.projects(whose, after, size), self._project_of, limit)

    def _project_of(self, raw: dict[str, Any]) -> Project:
        return project_of(raw, self)  # type: ignore[arg-type]


def _maybe_id_in(wallet: Wallet | str | None) -> str | None:
    return None if wallet is None else wallet_id_in(wallet)


# What is pushed.


def tarball_of(source: Pushed) -> bytes:
    """The bytes to push: those given, those of a file, or a folder's tarball."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if not isinstance(source, (str, os.PathLike)):
        raise Invalid("field_type", f"takes bytes or a path, not {type(source).__name__}", {"field": "source"})
    path = os.fspath(source)
    if os.path.isdir(path):
        return _packed(path)
    try:
        with open(path, "rb") as file:
            return file.read(_TARBALL_BYTES_MAX + 1)  # one more than is taken: the engine says so
    except FileNotFoundError:
        raise NotFound("file_missing", f"there is nothing at {path!r}", {"path": path}) from None


def _packed(folder: str) -> bytes:
    out = io.BytesIO()
    # No name, no time and no owner of its own, so that the same files are the same revision anywhere.
    with gzip.GzipFile("", "wb", fileobj=out, mtime=0) as zipped:
        with tarfile.open(fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT) as tar:
            _pack(tar, folder, "")
    return out.getvalue()


def _pack(tar: tarfile.TarFile, folder: str, below: str) -> None:
    with os.scandir(folder) as found:
        entries = sorted((one for one in found if one.name not in _LEFT_OUT), key=lambda one: one.name)
    for one in entries:
        about = tarfile.TarInfo(below + one.name)  # nobody's, from 1970
        if one.is_symlink():
            raise _refused("symbolic_link", "is a symbolic link", about.name)
        if one.is_dir():
            about.type, about.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(about)
            _pack(tar, one.path, about.name + "/")
        elif one.is_file():
            with open(one.path, "rb") as file:
                stat = os.fstat(file.fileno())
                about.size, about.mode = stat.st_size, 0o755 if stat.st_mode & 0o100 else 0o644
                if tar.offset + about.size > _EXPANDED_BYTES_MAX:
                    raise _refused("expanded_bytes", f"is beyond {_EXPANDED_BYTES_MAX} bytes in all", about.name)
                tar.addfile(about, file)
        else:
            raise _refused("other_kind", "is neither a file nor a folder", about.name)


def _refused(rule: str, message: str, name: str) -> Invalid:
    return Invalid("archive_refused", f"the entry {name} {message}", {"rule": rule, "entry": name})
