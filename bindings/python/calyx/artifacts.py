"""Artifacts: files that jobs read and leave, kept beside the market by the SHA-256 of their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from .wallet import key_in, pages, text_in

if TYPE_CHECKING:
    from . import _native

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Artifact:
    """A name over bytes, which never change. ``_artifacts.download`` of a payload names it by its ``id``."""

    #: ``art_…``
    id: str
    #: Whose it is; None: nobody's, which operators alone reach.
    wallet_id: str | None
    name: str
    size: int
    #: 64 hex digits.
    sha256: str
    created_at: datetime
    #: The job that left it, and its task.
    job_id: str | None
    task: int | None


class ArtifactsOfSession:
    """What a session may do with artifacts. A market in memory keeps none: ``Unsupported``."""

    __slots__ = ()

    if TYPE_CHECKING:
        _native: _native.Session

    def put_artifact(self, data: bytes, name: str = "artifact", *, idempotency_key: str | None = None) -> Artifact:
        """Keeps ``data``, at most 2 GB of it. The same key with the same bytes gives the first artifact again."""
        return Artifact(
            **self._native.put_artifact(
                bytes(data), text_in(name, "name"), key_in(idempotency_key, "idempotency_key")
            )
        )

    def put_artifact_file(
        self, path: str | os.PathLike[str], name: str | None = None, *, idempotency_key: str | None = None
    ) -> Artifact:
        """The same of a file, which is read as it is stored; without a ``name`` it keeps its own."""
        own = os.path.basename(os.fsdecode(path)) if name is None else name
        return Artifact(
            **self._native.put_artifact_file(
                os.fsencode(path), text_in(own, "name"), key_in(idempotency_key, "idempotency_key")
            )
        )

    def artifacts(self, limit: int | None = None) -> Iterator[Artifact]:
        """The artifacts that this session may read, the youngest first."""
        return pages(self._native.artifacts, lambda raw: Artifact(**raw), limit)

    def artifact(self, artifact_id: str) -> Artifact:
        """One of them. Raises :class:`calyx.NotFound` (``artifact_unknown``), also for somebody else's."""
        return Artifact(**self._native.artifact(text_in(artifact_id, "artifact_id")))

    def artifact_pieces(self, artifact_id: str, offset: int = 0) -> Iterator[bytes]:
        """Its bytes from ``offset`` on, a megabyte at a time."""
        return self._pieces_of(self.artifact(artifact_id), offset)

    def read_artifact(self, artifact_id: str) -> bytes:
        """All its bytes, in memory."""
        return b"".join(self.artifact_pieces(artifact_id))

    def _pieces_of(self, artifact: Artifact, offset: int) -> Iterator[bytes]:
        while piece := self._native.read_artifact(artifact.id, offset, _PIECE_BYTES):
            yield piece
            offset += len(piece)
