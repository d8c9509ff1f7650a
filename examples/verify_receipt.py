#!/usr/bin/env python3
"""Verifies a compute receipt with the `cryptography` library and nothing of calyx.

    verify_receipt.py RECEIPT KEYS

RECEIPT is a file with the receipt's JWS (RFC 7515) or the JSON document around it, KEYS one with the issuer's JSON
Web Key Set, as GET /v1/receipts/keys serves it; take it from where you trust it. Prints what was signed. Exit
status: 0 when the receipt is good, 1 when it is not, 2 when there is nothing to judge, or no key to judge it by.
"""

import base64
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class NotGood(Exception):
    """The receipt says something that nobody signed."""


def unbase64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def one_meaning(text):
    """Reads JSON in which no key comes twice: two readers could take different ones."""

    def pairs(members):
        found = dict(members)
        if len(found) != len(members):
            raise ValueError("a key comes twice")
        return found

    return json.loads(text, object_pairs_hook=pairs)


def verify(jws: str, keys: dict) -> dict:
    """The payload of `jws`, once its signature is found good by one of `keys`."""
    header_text, payload_text, signature_text = jws.split(".")
    header = one_meaning(unbase64url(header_text))
    # Of a header only this is taken: an extension would have to be understood.
    if header.get("alg") != "EdDSA" or header.get("typ") != "calyx-receipt+jws" or len(header) != 3:
        raise NotGood("the header is not a receipt's")
    able = [key for key in keys["keys"] if (key.get("kty"), key.get("crv")) == ("OKP", "Ed25519") and key.get("x")]
    if not able:
        raise ValueError("no Ed25519 key is among the keys")  # whoever has no key cannot tell
    for key in able:
        if key.get("kid") == header.get("kid"):
            break
    else:
        raise NotGood(f"nobody known signed it: {header.get('kid')}")
    try:
        Ed25519PublicKey.from_public_bytes(unbase64url(key["x"])).verify(
            unbase64url(signature_text), f"{header_text}.{payload_text}".encode()
        )
    except InvalidSignature:
        raise NotGood("the signature does not fit") from None
    return one_meaning(unbase64url(payload_text))


def judge(text: str, keys: dict) -> dict:
    """The payload of a receipt given as its JWS, or as the document that must say the same."""
    if not text.lstrip().startswith("{"):
        return verify(text.strip(), keys)
    document = one_meaning(text)
    payload = verify(document["jws"], keys)
    for name, value in payload.items():
        if name in document and document[name] != value:
            raise NotGood(f"the document's {name} is not what was signed")
    return payload


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        with open(sys.argv[1], encoding="utf-8") as receipt, open(sys.argv[2], encoding="utf-8") as keys:
            payload = judge(receipt.read(), one_meaning(keys.read()))
    except NotGood as fault:
        print(f"verify_receipt.py: {fault}", file=sys.stderr)
        return 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        print(f"verify_receipt.py: this is no receipt, or these are no keys: {fault}", file=sys.stderr)
        return 2
    print(json.dumps(payload, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
