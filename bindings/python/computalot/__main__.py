"""The command line: ``computalot --help``.

Exits 0 when all is well and 2 when it could not tell.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

import calyx

from . import ComputalotClient, _from_environment


def docs(client: ComputalotClient, arguments: argparse.Namespace) -> None:
    print(client.docs(llm=arguments.llm).rstrip("\n"))


def jobs(client: ComputalotClient, arguments: argparse.Namespace) -> None:
    for job in client.list_jobs(limit=arguments.limit, status=arguments.status)["jobs"]:
        progress = job["progress"]
        done = f"{progress['completed'] + progress['failed']}/{progress['tasks']}"
        print(f"{job['job_id']}  {job['status']:<9}  {done:>9}  {job['created_at']}  {job['work']['name']}")


def job(client: ComputalotClient, arguments: argparse.Namespace) -> None:
    print(json.dumps(client.get_job(arguments.job_id), indent=2, ensure_ascii=False))


def recipes(client: ComputalotClient, arguments: argparse.Namespace) -> None:
    for recipe in client.list_recipes()["recipes"]:
        print(f"{recipe['name']}  {recipe['summary']}".rstrip())


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="computalot",
        description="Asks the jobs API from the command line. Exits 0 when all is well, 2 when it could not tell.",
    )
    top.add_argument("--version", action="version", version=f"computalot {calyx.__version__}")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--url", help="http(s)://… or calyx://path/to/market.db; else COMPUTALOT_URL says")
    where.add_argument("--token", help="the API key; else COMPUTALOT_TOKEN says, which other users cannot see")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    one = commands.add_parser("docs", parents=[where], help="print the API's reference")
    one.add_argument("--llm", action="store_true", help="the compact one, for agents")
    one.set_defaults(run=docs)

    one = commands.add_parser("jobs", parents=[where], help="list jobs, the youngest first")
    one.add_argument("--limit", type=int, help="how many")
    one.add_argument("--status", help="only those that are queued, running, completed, …")
    one.set_defaults(run=jobs)

    one = commands.add_parser("job", parents=[where], help="print a job as JSON")
    one.add_argument("job_id", help="job_…")
    one.set_defaults(run=job)

    one = commands.add_parser("recipes", parents=[where], help="list the recipes")
    one.set_defaults(run=recipes)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    try:
        asked.run(_from_environment(asked.url, asked.token), asked)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except (calyx.Error, OSError) as error:
        print(f"computalot: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
