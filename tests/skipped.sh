#!/bin/sh
# A test that cannot run here says so by its name, and why: it exits with 77, which CTest knows as a skip.
#   sh skipped.sh <test> <why> [package]
# `package`: it lacks a package of the distribution, so where CALYX_TEST_WHOLE says that all are here it fails.
set -eu
said="skipped: $1 ($2)"
printf '%s\n' "$said"
[ -z "${CALYX_TEST_COUNTS:-}" ] || printf '%s\n' "$said" >>"$CALYX_TEST_COUNTS"
if [ "${3:-}" = package ] && [ -n "${CALYX_TEST_WHOLE:-}" ]; then exit 1; fi
exit 77
