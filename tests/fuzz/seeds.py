#!/usr/bin/env python3
"""Makes first inputs of the fuzz targets from tests/vectors: seeds.py FOLDER.

FOLDER/<target> gets a file an input, named by its SHA-1 as libFuzzer names what it finds. The committed corpus is these
and what fuzzing found, merged by `calyx_fuzz_<target> -merge=1 tests/fuzz/corpus/<target> FOLDER/<target> ...`.
"""

import base64
import hashlib
import json
import pathlib
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

VECTORS = pathlib.Path(__file__).resolve().parent.parent / "vectors" / "payments"


def vectors(name):
    return json.loads((VECTORS / f"{name}.json").read_text())["vectors"]


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def unurl(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def strings(value):
    """Every string in a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


def x402():
    for name in ("x402_v1_exact_evm", "x402_v2_exact_evm", "x402_v2_permit2", "x402_verify_cases", "x402_exact_svm"):
        for row in vectors(name):
            if isinstance(row.get("payload"), dict):
                yield compact(row["payload"])
    # Two messages, of which nobody could say which one is paid by.
    for row in vectors("x402_v1_exact_evm")[:1] + vectors("x402_v2_exact_evm")[:1]:
        payload = {**row["payload"]["payload"], "transaction": "AA=="}
        yield compact({**row["payload"], "payload": payload})
    # With an id of the client's, and with what is none.
    for row in vectors("x402_v2_exact_evm"):
        if "extensions" in row["payload"]:
            for name in ("pay_7d5d747be160e280504c099d984bcfe0", "short", 16):
                info = {"info": {"required": False, "id": name}}
                yield compact({**row["payload"], "extensions": {"payment-identifier": info}})
    for row in vectors("x402_v1_exact_evm") + vectors("x402_v2_exact_evm"):
        yield row.get("x_payment_header") or row.get("payment_signature_header")


def solana():
    for row in vectors("x402_exact_svm"):
        whole = base64.b64decode(row["payload"]["payload"]["transaction"])
        yield whole
        # What must stay refused: a byte behind the end, a length that is not the shortest.
        yield whole + b"\0"
        yield bytes([whole[0] | 128, 0]) + whole[1:]
        if whole[0] == 2 and whole[129] == 128:
            yield whole[:129] + whole[130:-1]  # the same as a legacy transaction
            yield whole[:-1] + b"\1" + b"t" * 32 + b"\1\0\0"  # and with a table of accounts
            # A memo that names the fee payer.
            memo = whole.rfind(b"\6\0", 0, len(whole) - 34)
            yield whole[: memo + 1] + b"\1\0" + whole[memo + 2 :]


def credentials():
    for row in vectors("mpp_evm_charge_rounds"):
        for text in strings(row):
            if text.startswith("Payment eyJ"):
                yield text


def mpp_credential():
    for text in credentials():
        yield text
        yield unurl(text[8:].rstrip("="))


    for row in vectors("x402_exact_svm"):
        asked = row["payment_requirements"]
        request = {
            "amount": asked["amount"],
            "currency": asked["asset"],
            "recipient": asked["payTo"],
            "methodDetails": {"feePayer": True, "feePayerKey": asked["extra"]["feePayer"]},
        }
        challenge = {"id": "id", "realm": "r", "method": "solana", "intent": "charge"}
        challenge["request"] = base64.urlsafe_b64encode(compact(request).encode()).decode().rstrip("=")
        payload = {"type": "transaction", "transaction": row["payload"]["payload"]["transaction"]}
        yield compact({"challenge": challenge, "payload": payload})
    # What is absent is left out, and never empty.
    yield compact({"challenge": {**challenge, "id": ""}, "payload": {}})
    yield compact({"challenge": {**challenge, "expires": ""}, "payload": {}, "source": ""})


def mpp_challenge():
    members = ("realm", "method", "intent", "request", "expires", "digest", "header", "opaque", "description")
    for text in credentials():
        challenge = json.loads(unurl(text[8:].rstrip("=")))["challenge"]
        yield "\n".join(challenge.get(member, "") for member in members)
    yield "pay|here\nevm\ncharge\ne30\n2026-01-01T00:00:00Z\n\nPayment-Authorization\ne30\nsays \"so\" \\ and more"
    yield "r\nevm\ncharge\ne30\n\nsha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\n"
    for text in ("evm/charge, solana/charge;q=0.5", "*/*;q=0, card/*;q=1.000", "*/session", "evm/charge;q=2"):
        yield text


def sign_in():
    for row in vectors("siwe") + vectors("solana_ed25519"):
        yield row["message"]
    yield from ("2026-01-01T00:00:00Z", "1999-12-31t23:59:60.1234567+23:59", "2024-02-29T00:00:00.5-00:01")
    yield from ("2000-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "9999-12-31T23:59:59z")


def challenge_id():
    seal = hashlib.sha256(b"a seal").hexdigest()
    for chain, address in (
        ("base", "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"),
        ("solana", "So11111111111111111111111111111111111111112"),
    ):
        for seconds in ("0", "1767225600", "253402300799", "253402300800", "01", "-1", "18446744073709551616", ""):
            yield f"{chain}.{address}.{seconds}.0123456789abcdef0123456789abcdef.{seal}"
    yield "ethereum.0x.0.n.s"
    yield "base....."
    yield "base...."
    yield "base.0x.0.n"


def signed_request():
    headers = ("Address", "Chain", "Timestamp", "Nonce", "Sig-Encoding", "Signature")
    for row in vectors("compute_auth_headers"):
        lines = [row["request"]["method"], row["request"]["path"]]
        lines += [row["headers"].get(f"X-Auth-{header}", "") for header in headers]
        yield "\n".join(lines + [row["request"].get("body") or ""])
    for lines in (["GET", "/a\tb"], ["GE\tT", "/"]):
        yield "\n".join(lines + ["", "solana", "1767225600000", "nonce", "base64", "", ""])
    yield "\n".join(["GET", "/", "", "solana", "1767225600000", "non\tce", "base64", "", ""])


def receipt():
    for row in vectors("receipts_jws"):
        for text in strings(row):
            if text.count(".") == 2 and text.startswith("eyJ"):
                yield text
                try:
                    document = json.loads(unurl(text.split(".")[1]))
                except ValueError:
                    continue
                if isinstance(document, dict):
                    yield compact({**document, "receipt_id": document.get("id"), "verified": True, "jws": text})
        if "jwk" in row.get("signing_key", {}):
            key = row["signing_key"]["jwk"]
            yield compact({"keys": [key, {**key, "kid": "k", "use": "sig"}]})


def payment_terms():
    evm = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
    of_solana = {
        "pay_to": "586Z7H2vpX9qNhN2T4e9Utugie3ogjbxzGaMtM3E6HR5",
        "fee_payer": "Hyx62wPQGyvXCoihZq1BrbUjBRh2LuNxWiiqMkfAuSZr",
    }
    real = [
        {"network": "base", "pay_to": evm},
        {"network": "megaeth", "pay_to": evm.lower()},
        {"network": "solana", **of_solana},
    ]
    trial = [
        {"network": "eip155:84532", "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "pay_to": evm},
        {"network": "solana-devnet", "asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", **of_solana},
    ]
    for networks in ([], real, trial, real[:1], trial[:1], real + trial, real[:1] * 2):
        yield compact({"base_url": "https://calyx.example", "realm": "calyx.example", "networks": networks})
    yield compact({"base_url": "http://calyx.example/at", "realm": ""})
    yield compact({"networks": real})


def account():
    for row in vectors("eip55"):
        yield row["lower"]
        yield row["checksummed"]
        yield "eip155:8453:" + row["lower"]
        yield "did:pkh:eip155:84532:" + row["checksummed"]
    for row in vectors("solana_ed25519"):
        yield row["signing_key"]["address"]
        yield row["signature_base58"]
        yield "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:" + row["signing_key"]["address"]
    yield from ("base", "base-sepolia", "megaeth", "solana", "solana-devnet", "eip155:1", "eip155:18446744073709551615")


def encoding():
    for row in vectors("base58"):
        yield row["base58"]
        if "hex" in row:
            yield row["hex"]
            yield "0x" + row["hex"].upper()
            yield base64.b64encode(bytes.fromhex(row["hex"]))
    yield "sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    yield "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
    for number in (0, 1, 10, 8 * 10**15, 2**64 - 1, 2**64, 2**128, 2**256 - 1, 2**256, 10**77, 10**78):
        yield str(number)
    yield "007"


def json_texts():
    for row in vectors("jcs"):
        yield from (text for text in strings(row) if text[:1] in '{["')
    for row in vectors("x402_v2_exact_evm")[:1] + vectors("mpp_evm_charge_rounds")[:1]:
        yield compact(row)[:3000]
    yield "[" * 33 + "]" * 33
    yield from ("-0", "1e400", "9223372036854775808", "0.1", "[1,]", "{} x", "\ufeff{}", "1 2", " [ ] ", "nul")
    yield from ('"\\ud83d\\ude00"', '"\\ud800"', '"\\udc00"', '{"\\udfff":1}', '"\\u0000"')
    yield from ('{"a":1,"a":2}', '{"\\u0061":1,"a":2}')
    # Lists that are cut.
    yield '{"a":{"list":[{"b":1},{"c":2},3,[],{}]}}'
    yield '{"a":{"list":[9007199254740993,-0,1.10,0.0000001,1e2,100000000000000000000]}}'
    yield '{"x":{"y":[1,2.50,true,null,"\\n"],"z":[[1]]}}'
    yield '{"z":1,"a":{"list":[{"z":1,"a":2},{"k":"\\u00e9"}]}}'


LIMITS = (
    {},
    {"budget": {"max": "100.00"}},
    {"amount_range": {"max": 6}, "spend_cap_per_hour": "20.5", "approval_threshold": "5.00"},
    {"allowed_gpu_types": ["H100", "RTX 4090"], "allowed_recipes": ["packing"], "allowed_payees": []},
    {"execution_date": {"not_before": "2027-01-15T12:00:00Z", "not_after": "2027-02-28T23:59:59Z"}},
)


def derived_key():
    yield from map(compact, LIMITS)
    yield compact({"budget": {"max": "1.00", "currency": "USD"}})
    for count in (1, 2, 5):
        signer = Ed25519PrivateKey.from_private_bytes(bytes([count]) * 32)
        parts = ["cyx_der_" + url(signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))]
        before = b""
        for number, limits in enumerate(LIMITS[:count]):
            secret = bytes([16 * count + number]) * 32
            following = Ed25519PrivateKey.from_private_bytes(secret)
            public = following.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            text = compact(limits).encode()
            before = signer.sign(b"calyx/derived-key/1\n" + before + public + text)
            parts.append("~".join(map(url, (text, public, before))))
            signer = following
        yield ".".join([*parts, url(secret)])


TARGETS = {
    "account": account,
    "challenge_id": challenge_id,
    "derived_key": derived_key,
    "encoding": encoding,
    "json": json_texts,
    "mpp_challenge": mpp_challenge,
    "mpp_credential": mpp_credential,
    "payment_terms": payment_terms,
    "receipt": receipt,
    "sign_in": sign_in,
    "signed_request": signed_request,
    "solana": solana,
    "x402": x402,
}


def main():
    for target, inputs in TARGETS.items():
        folder = pathlib.Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for text in inputs():
            data = text if isinstance(text, bytes) else text.encode()
            (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
            count += 1
        print(f"{target}: {count} inputs")


if __name__ == "__main__":
    main()
