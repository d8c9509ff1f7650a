#!/bin/sh
# `pip install ./bindings/python` into a new environment, where PyPI answers; then the package is used from there.
#   sh pip.sh <checkout> <work folder> <python> <compiler launcher or nothing>
set -eu
checkout=$1
work=$2
python=$3
launcher=$4
rm -rf "$work" "$work-build"
mkdir -p "$work"
if ! "$python" -m venv "$work/venv" >"$work/said" 2>&1; then
  exec sh "$checkout/tests/skipped.sh" packaging.pip "python3-venv is not installed" package
fi
pip="$work/venv/bin/python -m pip --disable-pip-version-check --no-input -q"
# What pyproject.toml asks for, fetched once: without it there is nothing to build with.
if ! $pip install --timeout 10 --retries 0 'scikit-build-core>=0.8' 'pybind11>=2.10' >"$work/said" 2>&1; then
  exec sh "$checkout/tests/skipped.sh" packaging.pip "PyPI does not answer"
fi
# Not optimised: what is looked at is that it builds, and what is then there. As the two other packaging tests that
# compile the library do it, and as deep in the checkout, so that ccache knows it again.
define=--config-settings=cmake.define
CCACHE_BASEDIR=$checkout $pip install --no-deps $define.CALYX_UNITY=ON $define.CALYX_TUNED=OFF $define.CALYX_CUDA=OFF \
  $define.CALYX_WERROR=ON $define.CMAKE_CXX_FLAGS_RELEASE=-O0 "$define.CMAKE_CXX_COMPILER_LAUNCHER=$launcher" \
  --config-settings=build-dir="$work-build" "$checkout/bindings/python"
cd "$work"
"$work/venv/bin/python" "$checkout/tests/packaging/imported.py" "$work/venv"
