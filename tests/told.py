"""Tells the skips of a pytest run as testing.hpp tells those of the C++ tests: `pytest -p told`.

CALYX_TEST_COUNTS names the file that gathers them. Where CALYX_TEST_WHOLE is set every package is
installed, so nothing may be skipped and the run fails.
"""

import os

skipped = []


def pytest_runtest_logreport(report):
    _look(report)


def pytest_collectreport(report):
    _look(report)


def _look(report):
    if not report.skipped or hasattr(report, "wasxfail"):
        return
    why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    skipped.append(f"skipped: {report.nodeid} ({why.removeprefix('Skipped: ')})")


def pytest_sessionfinish(session):
    path = os.environ.get("CALYX_TEST_COUNTS")
    if path:
        with open(path, "a", encoding="utf-8") as told:
            told.writelines(line + "\n" for line in skipped)
    if skipped and os.environ.get("CALYX_TEST_WHOLE"):
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    for line in skipped:
        terminalreporter.write_line(line)
