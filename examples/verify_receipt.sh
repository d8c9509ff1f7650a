#!/bin/sh
# Verifies a compute receipt with the openssl command line (3.0 or newer) and nothing of calyx.
#
#   verify_receipt.sh RECEIPT KEYS
#
# RECEIPT is a file with the receipt's JWS (RFC 7515), KEYS one with the issuer's JSON Web Key Set, as
# GET /v1/receipts/keys serves it; take it from where you trust it. Prints what was signed. Exit status: 0 when
# the signature is good, 1 when it is not, 2 when there is nothing to judge, or no key to judge it by.
set -eu
LC_ALL=C
export LC_ALL

die() { printf 'verify_receipt.sh: %s\n' "$2" >&2; exit "$1"; }
[ $# -eq 2 ] || die 2 'takes two files: the receipt and the keys'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unbase64url TEXT: the bytes, on standard output. JOSE leaves the padding out, openssl wants it.
unbase64url() {
  padded=$(printf '%s' "$1" | tr -- '-_' '+/')
  while [ $((${#padded} % 4)) -ne 0 ]; do padded="$padded="; done
  printf '%s' "$padded" | openssl base64 -d -A
}

# The three parts of header.payload.signature.
for file in "$1" "$2"; do
  [ -r "$file" ] && [ -f "$file" ] || die 2 "$file cannot be read"
done
jws=$(tr -d '\r\n' <"$1")
case $jws in
  *.*.*.* | *[!A-Za-z0-9._-]*) die 2 "$1 holds no compact JWS" ;;
  *.*.*) ;;
  *) die 2 "$1 holds no compact JWS" ;;
esac
header=${jws%%.*}
signed=${jws%.*}
payload=${signed#*.}
signature=${jws##*.}

# Only this one header is taken: no other algorithm, no extension that would have to be understood.
unbase64url "$header" >"$work/header"
kid=$(sed -n 's/^{"alg":"EdDSA","kid":"\([A-Za-z0-9_-]*\)","typ":"calyx-receipt+jws"}$/\1/p' "$work/header")
[ -n "$kid" ] || die 1 "the header is not a receipt's: $(tr -cd '[:print:]' <"$work/header")"

# The key of that name, one key a line; then as openssl reads it: 12 bytes that say Ed25519, and the 32 of the key.
tr -d ' \t\r\n' <"$2" | tr '{' '\n' >"$work/keys" || die 2 "$2 cannot be read"
grep -q '"crv":"Ed25519".*"x":"[A-Za-z0-9_-]\|"x":"[A-Za-z0-9_-].*"crv":"Ed25519"' "$work/keys" || die 2 "$2 holds no key set with an Ed25519 key"
grep -F "\"kid\":\"$kid\"" "$work/keys" >"$work/named" || die 1 "$2 has no key $kid"
x=$(sed -n 's/.*"x":"\([A-Za-z0-9_-]*\)".*/\1/p' "$work/named" | head -n 1)
[ -n "$x" ] || die 2 "the key $kid in $2 is broken"
{
  printf '\060\052\060\005\006\003\053\145\160\003\041\000'
  unbase64url "$x"
} >"$work/key.der"
openssl pkey -pubin -inform DER -in "$work/key.der" -out "$work/key.pem" 2>/dev/null || die 2 "$kid is no Ed25519 key"

printf '%s' "$signed" >"$work/signed"
unbase64url "$signature" >"$work/signature"
openssl pkeyutl -verify -pubin -inkey "$work/key.pem" -rawin -in "$work/signed" -sigfile "$work/signature" \
  >"$work/said" 2>&1 || die 1 'the signature does not fit'
unbase64url "$payload"
echo
