#!/bin/sh
# Runs one of the first_job programs, then verifies what it left with tools that know nothing of calyx.
#
#   demo.sh FOLDER COMMAND [WORD...]
#
# COMMAND is run with FOLDER as its last word. Exit status: 0 when the job was done, the receipt is good by openssl
# and by Python, and the tampered copies are good by neither.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
# The distribution's Python, which has the distribution's `cryptography`, before any other.
python=${CALYX_PYTHON_COMMAND:-/usr/bin/python3}
[ -x "$python" ] || python=python3

say() { printf '%-16s %s\n' "$1" "$2"; }
die() { printf 'demo.sh: %s\n' "$1" >&2; exit 1; }

folder=$1
shift
"$@" "$folder"

# All three programs compute the same result, to the byte.
if [ -e "$folder/result.json" ]; then
  cmp "$folder/result.json" "$here/packing_result.json" || die 'packing_result.json is not what was computed'
fi

# With `set -e` a command that fails ends the script, so each line below that is printed was true.
sh "$here/verify_receipt.sh" "$folder/receipt.jws" "$folder/keys.json" >/dev/null
say 'Verify' "openssl says valid: $folder/receipt.jws"
hash=$(openssl dgst -sha256 -r "$here/packing_result.json")
sh "$here/verify_receipt.sh" "$folder/receipt.jws" "$folder/keys.json" |
  grep -q "\"output_hash\":\"sha256:${hash%% *}\"" || die 'what the receipt is for is not packing_result.json'
say 'Compare' 'the receipt is for the bytes of packing_result.json'
"$python" "$here/verify_receipt.py" "$folder/receipt.jws" "$folder/keys.json" >/dev/null
"$python" "$here/verify_receipt.py" "$folder/receipt.json" "$folder/keys.json" >/dev/null
say 'Verify' "Python's cryptography says valid: receipt.jws and receipt.json"

# refused COMMAND...: status 1 is a judgement; 0 would be a forgery taken for good, 2 a file that was not read.
refused() {
  status=0
  said=$("$@" 2>&1 >/dev/null) || status=$?
  [ "$status" -eq 1 ] || die "a tampered copy ended with $status: $said"
}
# The payload with another first digit in its amount, header and signature as they were.
if [ ! -e "$folder/tampered.jws" ]; then
  jws=$(cat "$folder/receipt.jws")
  header=${jws%%.*}
  payload=$(sh "$here/verify_receipt.sh" "$folder/receipt.jws" "$folder/keys.json" |
    tr -d '\n' | sed 's/"gross":"3/"gross":"9/' | openssl base64 -A | tr -- '+/' '-_' | tr -d '=')
  printf '%s.%s.%s' "$header" "$payload" "${jws##*.}" >"$folder/tampered.jws"
fi
refused sh "$here/verify_receipt.sh" "$folder/tampered.jws" "$folder/keys.json"
say 'Tamper' "openssl refuses the copy: ${said#*: }"
for copy in tampered.jws tampered.json; do
  [ -e "$folder/$copy" ] || continue
  refused "$python" "$here/verify_receipt.py" "$folder/$copy" "$folder/keys.json"
  say 'Tamper' "Python's cryptography refuses the copy: ${said#*: }"
done
