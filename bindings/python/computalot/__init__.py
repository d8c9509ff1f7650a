"""computalot: a client of the jobs API, over HTTP or in process.

>>> from computalot import ComputalotClient
>>> client = ComputalotClient(controller_url="https://…", token="YOUR_TOKEN")
>>> len(client.list_recipes().get("recipes", []))
2
>>> client.list_jobs(limit=5)["jobs"]
[]

What comes back are the dictionaries that the API answers. A refusal is raised as the :class:`calyx.Error` of its
kind, whose ``reason`` is the answer's code.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Union
from urllib.parse import quote, unquote, urlencode

import calyx
from calyx import errors
from calyx.projects import Pushed, tarball_of
from calyx.wallet import _market_of

__all__ = ["ComputalotClient"]

_SCHEME = "calyx://"

#: What an answer's status says to do, as far as its code does not say it better.
_STATUS_OF = {401: "refused", 402: "refused", 403: "refused", 404: "not_found", 405: "invalid", 409: "conflict"}
_STATUS_OF.update({410: "conflict", 429: "unavailable", 501: "unsupported", 503: "unavailable", 507: "unavailable"})
#: Codes of 500 and 503 that say something else than their neighbours.
_STATUS_OF_CODE = {"outcome_unknown": "unknown", "corrupt": "corrupt", "stopped": "stopped", "read_only": "unsupported"}


class ComputalotClient:
    """What the holder of ``token`` may ask of the jobs API at ``controller_url``.

    That is an ``http(s)://`` address; or, in process, ``calyx://path/to/market.db`` (``calyx:///…`` for a path from
    the root) or an open :class:`calyx.Market`. A market file that is not there is not made. ``timeout`` is for each
    request over HTTP, in seconds. Any thread may use a client.

    Raises :class:`calyx.Invalid` for an address of another kind.
    """

    def __init__(
        self, controller_url: Union[str, calyx.Market], token: str | None = None, *, timeout: float = 60
    ) -> None:
        self._token = token
        self._timeout = timeout
        self._market: calyx.Market | None = None
        self._url = ""
        if isinstance(controller_url, calyx.Market):
            self._market = controller_url
        elif isinstance(controller_url, str) and controller_url.startswith(_SCHEME):
            self._market = _market_of(unquote(controller_url[len(_SCHEME) :]))
        elif isinstance(controller_url, str) and controller_url.startswith(("http://", "https://")):
            self._url = controller_url.rstrip("/")
        else:
            raise calyx.Invalid(
                "field_value", "takes http://, https://, calyx:// or a Market", {"field": "controller_url"}
            )

    # Recipes.

    def list_recipes(self) -> dict[str, Any]:
        """All recipes, under ``recipes``."""
        return self._json("GET", "/api/v1/recipes")

    def get_recipe(self, name: str) -> dict[str, Any]:
        """A recipe with its ``payload_schema``."""
        return self._json("GET", f"/api/v1/recipes/{_part(name)}")

    # Jobs.

    def list_jobs(
        self,
        limit: int | None = None,
        *,
        status: str | None = None,
        project: str | None = None,
        tag: str | None = None,
        after: str | None = None,
    ) -> dict[str, Any]:
        """The jobs of this key, the youngest first, under ``jobs``; ``next_cursor`` is the next page's ``after``."""
        asked = {"limit": limit, "status": status, "project": project, "tag": tag, "after": after}
        return self._json("GET", "/api/v1/jobs" + _query(asked))

    def get_job(self, job_id: str) -> dict[str, Any]:
        """A job as it stands."""
        return self._json("GET", f"/api/v1/jobs/{_part(job_id)}")

    def submit_job(self, job: Mapping[str, Any], *, idempotency_key: str | None = None) -> dict[str, Any]:
        """Submits a job with the members of ``POST /api/v1/jobs``; the answer has its ``job_id``."""
        return self._submit("/api/v1/jobs", job, idempotency_key)

    def submit_recipe_job(
        self, recipe: str, job: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Submits a job of a recipe: ``{"payload": {…}}``."""
        return self._submit(f"/api/v1/recipes/{_part(recipe)}/jobs", job, idempotency_key)

    def _submit(self, path: str, job: Mapping[str, Any], idempotency_key: str | None) -> dict[str, Any]:
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self._json("POST", path, dict(job), headers)

    def estimate(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """What a job would hold, with nothing submitted."""
        return self._json("POST", "/api/v1/jobs/estimate", dict(job))

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Ends a job; the job as it is then."""
        return self._json("PUT", f"/api/v1/jobs/{_part(job_id)}/cancel")

    def results(self, job_id: str, *, limit: int | None = None, after: str | None = None) -> dict[str, Any]:
        """The merged ``result`` and each task's, a page of ``tasks`` at a time."""
        return self._json("GET", f"/api/v1/results/{_part(job_id)}" + _query({"limit": limit, "after": after}))

    def tasks(self, job_id: str, *, limit: int | None = None, after: str | None = None) -> dict[str, Any]:
        """A job's tasks with their payloads, a page at a time."""
        return self._json("GET", f"/api/v1/jobs/{_part(job_id)}/tasks" + _query({"limit": limit, "after": after}))

    def output(self, job_id: str, task: int = 0) -> dict[str, Any]:
        """What the last try of a task printed: ``stdout`` and ``stderr``."""
        return self._json("GET", f"/api/v1/jobs/{_part(job_id)}/output" + _query({"task": task}))

    def events(self, job_id: str, *, limit: int | None = None, after: str | None = None) -> dict[str, Any]:
        """What happened to a job so far, a page at a time."""
        return self._json("GET", f"/api/v1/jobs/{_part(job_id)}/events" + _query({"limit": limit, "after": after}))

    # Projects.

    def create_project(
        self, name: str, *, description: str | None = None, remote_dir: str | None = None
    ) -> dict[str, Any]:
        """Makes a project, to which code is pushed."""
        body = {"name": name, "description": description, "remote_dir": remote_dir}
        return self._json("POST", "/api/v1/projects", {key: text for key, text in body.items() if text is not None})

    def push_project(self, name: str, data: Pushed) -> dict[str, Any]:
        """Publishes a ``revision`` of what :meth:`calyx.Project.push` takes: a tarball's bytes, or a path."""
        target = f"/api/v1/projects/{_part(name)}/push"
        headers = {"Content-Type": "application/octet-stream"}
        return _object_in(self._send("POST", target, tarball_of(data), headers), f"POST {target}")

    def list_projects(self, limit: int | None = None, *, after: str | None = None) -> dict[str, Any]:
        """The projects of this key, the oldest first, under ``projects``."""
        return self._json("GET", "/api/v1/projects" + _query({"limit": limit, "after": after}))

    def get_project(self, name: str) -> dict[str, Any]:
        """A project as it stands."""
        return self._json("GET", f"/api/v1/projects/{_part(name)}")

    def project_status(self, name: str) -> dict[str, Any]:
        """Whether it takes jobs (``can_accept_new_jobs``), and is prepared for them (``ready_for_jobs``)."""
        return self._json("GET", f"/api/v1/projects/{_part(name)}/status")

    # Artifacts.

    def upload_artifact(
        self, data: bytes, name: str = "artifact", *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Keeps ``data``; the answer has its ``artifact_id``, which payloads name, and its ``sha256``."""
        headers = {"Content-Type": "application/octet-stream"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        target = "/api/v1/artifacts" + _query({"name": name})
        return _object_in(self._send("POST", target, bytes(data), headers), f"POST {target}")

    def list_artifacts(self, limit: int | None = None, *, after: str | None = None) -> dict[str, Any]:
        """The artifacts of this key, the youngest first, under ``artifacts``."""
        return self._json("GET", "/api/v1/artifacts" + _query({"limit": limit, "after": after}))

    def download_artifact(self, artifact_id: str) -> bytes:
        """The bytes of an artifact, all in memory. Raises :class:`calyx.Unavailable` when not all of them came."""
        return self._send("GET", f"/api/v1/artifacts/{_part(artifact_id)}", None, {})

    # The account.

    def presets(self) -> dict[str, Any]:
        """Requirements to submit with, and what a second of them costs, under ``presets``."""
        return self._json("GET", "/api/v1/presets")

    def feedback(self, type: str, title: str, description: str) -> dict[str, Any]:
        """Tells the operators; ``type`` is bug, feature_request, provisioning or job_type_request. Needs no token."""
        return self._json("POST", "/api/v1/feedback", {"type": type, "title": title, "description": description})

    def balance(self) -> dict[str, Any]:
        """``balance``, ``held`` and ``available``, in FLOPS."""
        return self._json("GET", "/api/v1/account/balance")

    def docs(self, *, llm: bool = False) -> str:
        """The API's reference as text: the compact one for agents, or the guide to this client."""
        return self.request("GET", "/llms.txt" if llm else "/api/v1/docs/python-sdk")

    # The way there.

    def request(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> str:
        """The text that the API answers to one request. Raises the :class:`calyx.Error` that a refusal is.

        Over HTTP also :class:`calyx.Unavailable` (``io_error``) when there is no answer: a submit with an
        ``idempotency_key`` can be made again.
        """
        sent = dict(headers or {})
        octets = None
        if body is not None:
            try:
                octets = json.dumps(body, allow_nan=False).encode()
            except (TypeError, ValueError) as fault:
                raise calyx.Invalid("not_json", f"has no spelling in JSON: {fault}") from None
            sent["Content-Type"] = "application/json"
        return self._send(method, target, octets, sent).decode("utf-8", "replace")

    def _send(self, method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        """The bytes of one answer, which may have come in pieces."""
        sent = dict(headers)
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        if self._market is not None:
            response = self._market.request(method, target, sent, body)
            status, answer = response.status, b"".join(response.pieces())
            length = response.header("Content-Length")
            if length is not None and int(length) != len(answer):
                raise calyx.Unavailable("closed", f"{len(answer)} of {length} bytes came", {})
        else:
            status, answer = self._over_http(method, target, sent, body)
        if status >= 400:
            raise _error_of(status, answer.decode("utf-8", "replace"))
        return answer

    def _over_http(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> tuple[int, bytes]:
        request = urllib.request.Request(self._url + target, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()
        except (OSError, ValueError, http.client.HTTPException) as fault:
            raise calyx.Unavailable("io_error", f"{self._url}: {fault}", {"url": self._url}) from fault

    def _json(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        return _object_in(self.request(method, target, body, headers), f"{method} {target}")

    def __repr__(self) -> str:
        return f"<ComputalotClient of {self._url or self._market!r}>"


def _object_in(text: str | bytes, asked: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise calyx.Unsupported("not_json", f"{asked} was not answered by the jobs API")
    return answer


def _part(text: str) -> str:
    return quote(text, safe="")


def _query(asked: Mapping[str, Any]) -> str:
    given = {name: value for name, value in asked.items() if value is not None}
    return "?" + urlencode(given) if given else ""


def _error_of(status: int, text: str) -> calyx.Error:
    """The exception of a refusal, whoever refused: a proxy on the way does not speak as calyx does."""
    try:
        said = json.loads(text)["error"]
        code, message, details = said["code"], said["message"], said.get("details")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, message, details = f"http_{status}", text.strip().split("\n")[0][:200] or "no answer's text", None
    kind = _STATUS_OF_CODE.get(code) or _STATUS_OF.get(status, "internal" if status >= 500 else "invalid")
    return errors.of(kind, str(code), str(message), details if isinstance(details, dict) else None)


def _from_environment(url: str | None, token: str | None) -> ComputalotClient:
    """For the command line: what is not given is ``COMPUTALOT_URL`` and ``COMPUTALOT_TOKEN``."""
    url = url or os.environ.get("COMPUTALOT_URL", "")
    if not url:
        raise calyx.Invalid("options_invalid", "neither --url nor COMPUTALOT_URL names an address")
    return ComputalotClient(controller_url=url, token=token or os.environ.get("COMPUTALOT_TOKEN") or None)
