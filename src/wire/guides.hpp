/// \file
/// The parts of the documentation that are written by hand; what the table knows is added by routes_docs.cpp.
///
/// A line that names a route is tried by tests/wire/discovery.test.cpp: `GET /path` in prose, and each curl,
/// which is run. `$BASE_URL` and `$TOKEN` are the reader's; `<word>` stands for what an earlier answer gave.
#pragma once

#include <string_view>

namespace calyx::wire::guides {

inline constexpr std::string_view skill_header = R"(---
name: calyx-compute
description: Submit compute jobs to a calyx market over HTTP, follow them, read their results and signed receipts, and keep within a wallet's budget. Use when a task needs a sweep, a fan-out, a benchmark or a recipe run on other machines.
---

# Working with this market

)";

inline constexpr std::string_view skill =
    R"(You need the market's address and an API key, which its operator or a wallet's owner gives you. Set both once:

```sh
export BASE_URL="https://..."
export TOKEN="..."
```

Do it in this order:

1. See what you may spend: `GET /api/v1/account/balance`.
2. See what is ready to run: `GET /api/v1/recipes`. If a recipe fits, read its schema with `GET /api/v1/recipes/{id}`
   and submit with `POST /api/v1/recipes/{id}/jobs`. Otherwise push your code as a project.
3. Ask for the price before you commit to it: `POST /api/v1/jobs/estimate`. Put a ceiling on it with `max_cost`.
4. Submit with an `Idempotency-Key` that you keep. If the answer is lost, send the same request with the same key: it
   is answered as the first time, and one job runs.
5. Ask `GET /api/v1/jobs/{id}` until `status` is completed, partial, failed or cancelled. Leave some seconds between two
   questions.
6. Read `GET /api/v1/results/{id}`. When something failed, `error` and `recommended_action` of the job say what to
   change; `GET /api/v1/jobs/{id}/tasks` says which tasks, and `GET /api/v1/jobs/{id}/output` what they printed.

What to do about a refusal is decided by its status: 400 and 422, mend the request at `error.details.field`; 401, ask for
a key; 402, ask your owner for funds and send the same request again; 403, a policy said no, and `error.message` has its
numbers; with the code `approval_required` a human has to approve, after which the same request passes once; 409, read
again and decide again; 429 and 503 with the header `Retry-After`, wait so many seconds and repeat; 503 without it, and other
codes from 500 on, ask the operators.

Never put a key into a payload, a tag or a project: others may read those.

More: `GET /llms.txt` is short, `GET /llms-full.txt` has everything, `GET /api/v1/docs` is for programs.
)";

inline constexpr std::string_view title = "# The compute market's API\n\n";

inline constexpr std::string_view introduction =
    R"(Jobs go in as JSON and come back as JSON, with a signed receipt for what they cost. The market runs on calyx.

- Addresses below are relative to `$BASE_URL`, where you read this; `$TOKEN` is your API key.
- Every protected route takes the key as `Authorization: Bearer $TOKEN` or `X-API-Key: $TOKEN`.
- Bodies are JSON objects. A member that a route does not know is refused, so a spelling mistake is noticed.
- Amounts are FLOPS, as a number or a decimal string with at most six decimals; 1 FLOPS is 0.01 USD.
- Lists come in pages: `limit`, and `after` with what `next` or `next_cursor` said; null is the end.
- An error is `{"error": {"code", "message", "details"}}`. Codes are stable; `details.field` points to the fault.
- `Idempotency-Key` makes a POST safe to repeat: the same key and body give the first answer again, with the header
  `Idempotent-Replayed: true`; the same key with another body is 409 `key_reused`.

Pages: `GET /skill.md` to start, `GET /llms.txt` in short, `GET /llms-full.txt` in full, `GET /docs` for people,
`GET /api/v1/docs` and `GET /openapi.json` for programs.

)";

inline constexpr std::string_view quickstart = R"(## A recipe's job

A recipe is work that the market brings along; a payload is all that it needs.

```sh
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/recipes
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/recipes/packing
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/recipes/packing/jobs -d '{"payload": {"operation": "eval", "candidate": [0,0,0, 3,0,0, 6,0,0, 9,0,0, 12,0,0, 0,3,0, 3,3,0, 6,3,0, 9,3,0, 12,3,0, 0,6,0, 3,6,0, 6,6,0, 9,6,0, 12,6,0]}, "timeout_s": 300}'
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/jobs/<job_id>
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/results/<job_id>
```

## Your own code

A project holds it. A push publishes a revision, whole or not at all, and jobs may be submitted at once.

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/projects -d '{"name": "my-project", "description": "a parameter study"}'
tar czf code.tar.gz script.py
curl -sS -X POST -H "Authorization: Bearer $TOKEN" --data-binary @code.tar.gz $BASE_URL/api/v1/projects/my-project/push
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -H "Idempotency-Key: study-1" $BASE_URL/api/v1/jobs -d '{"project": "my-project", "runner_command": ["python3", "script.py"], "payload": {"x": 3}, "timeout_s": 120, "max_cost": "5"}'
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/projects/my-project/status
```

The script reads JSON from the file that `$COMPUTALOT_TASK_PAYLOAD` names, writes JSON to the one that
`$COMPUTALOT_TASK_RESULT` names, and ends with exit code 0 when all went well. A line on stdout such as
`COMPUTALOT_PROGRESS:{"epoch": 5}` tells how far it is.

```python
import json, os

with open(os.environ["COMPUTALOT_TASK_PAYLOAD"]) as file:
    payload = json.load(file)
with open(os.environ["COMPUTALOT_TASK_RESULT"], "w") as file:
    json.dump({"square": payload["x"] ** 2}, file)
```

With an `image` a command runs in that image, and needs no project: `"image": "pytorch/pytorch:2.3", "command": "python
train.py --epochs 10"`. A `command` is `runner_command` under another name, or one text that is split into words as a shell
would split them, without a shell; its tasks may leave no result, which is then null.

With `"checkpointing": {"enabled": true, "resume_from_latest": true}` a command may keep files in the folder that
`COMPUTALOT_CHECKPOINT_DIR` names: the next attempt of its task finds them. Write a file under another name and rename
it, since a command may be killed at any time. The folder goes when the job has ended.

A project's `computalot.project.json` may declare `data_sources`, which lie at `$COMPUTALOT_DATA_DIR/<name>` to read, and
`cache_mounts`, folders at `$COMPUTALOT_CACHE_DIR/<name>` that its later tasks may find again; in an image also at their
`mount_path`. A data source that the worker's host cannot get just now is `source_unavailable`, one that it refuses
`source_refused`; neither is charged.

## Files in and out

An artifact is a file of up to 2 GB. Its id stands in a payload, and it is there when the task starts:
`"payload": {"_artifacts": {"download": [{"artifact_id": "art_…", "path": "data/x.bin"}]}}` lies at
`$COMPUTALOT_INPUT_DIR/data/x.bin`. What a task leaves in `$COMPUTALOT_ARTIFACT_DIR` is listed with the task once it
went well, and `GET /api/v1/artifacts/{id}` gives it back, whole or a range of it.

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" --data-binary @x.bin "$BASE_URL/api/v1/artifacts?name=x.bin"
curl -sS -H "Authorization: Bearer $TOKEN" "$BASE_URL/api/v1/artifacts?limit=5"
```

## Following a job

A job is planning, queued, running, and then completed, partial (some tasks failed), failed or cancelled.

```sh
curl -sS -H "Authorization: Bearer $TOKEN" "$BASE_URL/api/v1/jobs?status=queued&limit=5"
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/jobs/<job_id>/tasks
curl -sS -H "Authorization: Bearer $TOKEN" "$BASE_URL/api/v1/jobs/<job_id>/output?task=0"
curl -sS -H "Authorization: Bearer $TOKEN" "$BASE_URL/api/v1/jobs/<job_id>/events?limit=200"
curl -sSN -H "Authorization: Bearer $TOKEN" "$BASE_URL/api/v1/jobs/<job_id>/stream"
curl -sS -X PUT -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/jobs/<job_id>/cancel
```

A job with a `callback_url` tells its end there, where the market's host allows that: a POST with `type` (job.completed,
job.partial, job.failed, job.cancelled), `timestamp` and `data`, signed as Standard Webhooks 1.0 says with the secret
that `POST /v1/wallets/{id}/webhook-secret` shows once. It may come more than once: its `webhook-id` is the job's id.
`GET /api/v1/jobs/{id}/webhooks` says how far it is.

## What it costs

A job holds its worst case, or `max_cost` if that is less, and is settled once at its end by the time that its tasks
took; the rest comes back. Tasks that a vanished worker took along are not charged. When what a job holds will not last,
its events say so once: `low_funds`, with what is left, for how many tasks, and until when; a job whose money does end
is `partial` with what it has, or failed, with the error `budget_exhausted`. In a job with `"idempotent": true` a task
that is late may run twice at once: the first result counts, and one of the two is charged.

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs/estimate -d '{"task": "work", "timeout_s": 60, "requirements": {"cpu": 2, "memory_mb": 4096}}'
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/account/balance
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/account/holds
curl -sS -H "Authorization: Bearer $TOKEN" $BASE_URL/api/v1/account/ledger
```

)";

inline constexpr std::string_view feedback = R"(## Tell the operators

No key is needed. `type` is bug, feature_request, provisioning or job_type_request.

```sh
curl -sS -X POST -H "Content-Type: application/json" $BASE_URL/api/v1/feedback -d '{"type": "bug", "title": "A sweep ended early", "description": "What I did, what I expected, what happened instead"}'
```

)";

inline constexpr std::string_view workflows = R"(# Ways to put jobs together

Each example is the body of `POST /api/v1/jobs`. `task` names a function that the market's host has registered; your own
code goes into a project, and `runner_command` takes the place of `task`.

## One task

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs -d '{"task": "work", "payload": {"x": 3}, "timeout_s": 60}'
```

## A task for each value of a list

`fan_out.by` names a list of the payload; each task reads the payload with one value in the list's place. `keyed`
answers with an object by that value, `collect` (the usual) with a list, `weighted_avg` with averages.

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs -d '{"task": "work", "payload": {"models": ["a", "b", "c"]}, "fan_out": {"by": "models"}, "timeout_s": 60}'
```

## Payloads of your own

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs -d '{"task": "work", "fan_out": {"items": [{"x": 1}, {"x": 2}, {"x": 3}]}, "batch_size": 2, "timeout_s": 60}'
```

With `batch_size` a task does several small units: it reads `{"items": [...]}` and gives a list.

## A range in chunks

Each task reads its share: `seeds` how many, `seeds_start`, and `seeds_end`, which is not in it. A job takes one of the
three shapes; two at once are 422.

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs -d '{"task": "work", "fan_out": {"chunks": 20, "range_field": "seeds", "total": 10000}, "timeout_s": 60}'
```

## A grid of parameters, ranked

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs -d '{"type": "sweep", "task": "work", "parameters": {"rate": [0.1, 0.2], "depth": [2, 4, 8]}, "fixed_payload": {"data": "d"}, "rank_by": "score", "timeout_s": 60}'
```

With `"sample": {"k": 4, "seed": 7}` only some points of the grid are tried, the same ones for the same seed.

## Chunks, and one value out of them

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs -d '{"type": "map_reduce", "task": "work", "split": {"range": 1000, "chunk_size": 100}, "reduce": "sum", "timeout_s": 60}'
```

## Candidates against each other

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs -d '{"type": "benchmark", "task": "work", "candidates": {"old": {"v": 1}, "new": {"v": 2}}, "replicas": 3, "rank_by": "score", "timeout_s": 60}'
```

## One job after another

A job with `depends_on` waits until those jobs have completed.

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs -d '{"task": "work", "depends_on": ["<job_id>"], "tags": ["study"], "priority": "low", "timeout_s": 60}'
```

## Many jobs in one request

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -H "Idempotency-Key: batch-1" $BASE_URL/api/v1/jobs/batch -d '{"jobs": [{"task": "work", "payload": {"x": 1}}, {"task": "work", "payload": {"x": 2}}]}'
```

Each of up to 200 has its own outcome in the answer. With the key, what stood is replayed and what was refused is tried
again.

A job may bear an `alias` in its batch, 1 to 64 letters, digits and `_.-`, by which others wait for it before it has an
id:

```sh
curl -sS -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" $BASE_URL/api/v1/jobs/batch -d '{"jobs": [{"task": "work", "depends_on": ["prepare"]}, {"task": "work", "alias": "prepare"}]}'
```

Jobs that wait for each other in a circle are refused together (`dependency_cycle`, with the aliases on the way around it
in `cycle`). When one is refused, so are those that wait for it (`dependency_refused`).

## When something fails

`max_retries` tries a failed task again; a task whose worker vanished is handed out again at no cost of yours.

Once a job has ended, `{"retry_of": "<job id>"}` as the body of a submit runs what failed or never ran, as a job of its own
with a hold for that alone; what completed is taken over. Read `recommended_action` first: the same input fails the same
way. A sweep with `"resume_from": "<job id>"` runs only the points that the sweep of that id has no result of, so a grid
may grow without paying twice.

)";

inline constexpr std::string_view python = R"(# The Python client

`computalot` comes with the package `calyx`. It speaks to a market over HTTP, or to a market file in process.

```python
from computalot import ComputalotClient

client = ComputalotClient(controller_url="https://...", token="YOUR_TOKEN")  # or calyx://path/to/market.db
for recipe in client.list_recipes()["recipes"]:
    print(recipe["name"], recipe["summary"])
job = client.submit_job({"task": "work", "payload": {"x": 3}, "max_cost": "5"}, idempotency_key="study-1")
print(client.get_job(job["job_id"])["status"])
print(client.results(job["job_id"])["result"])
```

Answers are the dictionaries that the routes give. A refusal is raised as the `calyx.Error` of its kind (`calyx.Invalid`,
`calyx.NotFound`, `calyx.Conflict`, `calyx.Refused`, `calyx.Unavailable`), and its `reason` is the answer's code.

| call | route |
| --- | --- |
| `list_recipes()` | `GET /api/v1/recipes` |
| `get_recipe(name)` | `GET /api/v1/recipes/{id}` |
| `submit_recipe_job(name, job)` | `POST /api/v1/recipes/{id}/jobs` |
| `submit_job(job)` | `POST /api/v1/jobs` |
| `estimate(job)` | `POST /api/v1/jobs/estimate` |
| `list_jobs(limit=5)` | `GET /api/v1/jobs` |
| `get_job(job_id)` | `GET /api/v1/jobs/{id}` |
| `cancel(job_id)` | `PUT /api/v1/jobs/{id}/cancel` |
| `results(job_id)` | `GET /api/v1/results/{id}` |
| `tasks(job_id)` | `GET /api/v1/jobs/{id}/tasks` |
| `output(job_id, task)` | `GET /api/v1/jobs/{id}/output` |
| `events(job_id)` | `GET /api/v1/jobs/{id}/events` |
| `create_project(name)` | `POST /api/v1/projects` |
| `push_project(name, "./code")` | `POST /api/v1/projects/{id}/push` |
| `list_projects(limit=5)` | `GET /api/v1/projects` |
| `get_project(name)` | `GET /api/v1/projects/{id}` |
| `project_status(name)` | `GET /api/v1/projects/{id}/status` |
| `upload_artifact(data, name)` | `POST /api/v1/artifacts` |
| `list_artifacts(limit=5)` | `GET /api/v1/artifacts` |
| `download_artifact(artifact_id)` | `GET /api/v1/artifacts/{id}` |
| `balance()` | `GET /api/v1/account/balance` |
| `presets()` | `GET /api/v1/presets` |
| `feedback(type, title, description)` | `POST /api/v1/feedback` |
| `docs(llm=True)` | `GET /llms.txt` |

On the command line `COMPUTALOT_URL` and `COMPUTALOT_TOKEN` say where and who:

```sh
computalot docs --llm
computalot recipes
computalot jobs --limit 5
computalot job <job_id>
```

)";

}  // namespace calyx::wire::guides
