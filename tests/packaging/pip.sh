#!/bin/sh
# `pip install ./bindings/python` into a new environment, where PyPI answers; then the package is used from there.
#   sh pip.sh <checkout> <work folder> <python>
set -eu
checkout=$1
work=$2
python=$3
rm -rf "$work"
mkdir -p "$work"
if ! "$python" -m venv "$work/venv" >"$work/said" 2>&1; then
  exec sh "$checkout/tests/skipped.sh" packaging.pip "python3-venv is not installed" package
fi
pip="$work/venv/bin/python -m pip --disable-pip-version-check --no-input -q"
# What pyproject.toml asks for, fetched once: without it there is nothing to build with.
if ! $pip install --timeout 10 --retries 0 'scikit-build-core>=0.8' 'pybind11>=2.10' >"$work/said" 2>&1; then
  exec sh "$checkout/tests/skipped.sh" packaging.pip "PyPI does not answer"
fi
# Not optimised: what is looked at is that it builds, and what is then there.
$pip install --no-deps --config-settings=cmake.define.CALYX_UNITY=ON --config-settings=cmake.define.CALYX_CUDA=OFF \
  --config-settings=cmake.define.CMAKE_CXX_FLAGS_RELEASE=-O0 "$checkout/bindings/python"
cd "$work"
"$work/venv/bin/python" "$checkout/tests/packaging/imported.py" "$work/venv"
