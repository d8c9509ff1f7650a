#!/bin/sh
# What a library shows equals one list for C and another one, demangled, for C++; nothing of C++ is outside namespace
# calyx. A list of C names that is not there is an empty one.
#   sh symbols.sh <library> <symbols.txt> <symbols_cpp.txt> [nm]
set -eu
library=$1
expected=$2
expected_cpp=$3
nm=${4:-nm}

shown=$("$nm" -D --defined-only --format=posix "$library" | cut -d ' ' -f 1 | sed 's/@.*//' | LC_ALL=C sort -u)
[ -n "$shown" ] || { echo "$library shows nothing"; exit 1; }

c_names=$(printf '%s\n' "$shown" | grep -v '^_Z' || true)
[ -e "$expected" ] || expected=/dev/null
if [ "$c_names" != "$(LC_ALL=C sort -u "$expected")" ]; then
  echo "the C names differ from $expected (<: only in the library, >: only in the list):"
  printf '%s\n' "$c_names" | diff - "$expected" || true
  exit 1
fi

# In lists of their own, because a C++ name says its arguments too: a changed signature is another name.
cpp_names=$("$nm" -DC --defined-only "$library" | cut -d ' ' -f 3- | grep '^calyx::\|^[a-z ]* for calyx::' |
  LC_ALL=C sort -u)
if [ "$cpp_names" != "$(LC_ALL=C sort -u "$expected_cpp")" ]; then
  echo "the C++ names differ from $expected_cpp (<: only in the library, >: only in the list):"
  printf '%s\n' "$cpp_names" | diff - "$expected_cpp" || true
  exit 1
fi

# A name of calyx, a const member of it, and the tables of its types (typeinfo, its name, vtable, VTT). A
# template of the standard library over one of our types is not ours to show.
foreign=$(printf '%s\n' "$shown" | grep '^_Z' | grep -Ev '^_Z(N|NK|TIN|TSN|TVN|TTN)5calyx' || true)
if [ -n "$foreign" ]; then
  echo "C++ names outside namespace calyx:"
  printf '%s\n' "$foreign" | c++filt 2>/dev/null || printf '%s\n' "$foreign"
  exit 1
fi
inside=$(printf '%s\n' "$shown" | grep -E '^_ZN5calyx(4core|4capi|5store)' || true)
if [ -n "$inside" ]; then
  echo "C++ names of rooms that have no public face:"
  printf '%s\n' "$inside"
  exit 1
fi
echo "$(printf "%s\n" "$shown" | wc -l) names, $(printf "%s\n" "$c_names" | grep -c . || true) of them C"
