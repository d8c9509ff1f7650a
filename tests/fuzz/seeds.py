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


HASH = "0x" + "ab" * 32


def facilitator():
    bodies = (
        {"isValid": True, "payer": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"},
        {"isValid": False, "invalidReason": "insufficient_funds"},
        {"isValid": False, "invalidReason": "unexpected_verify_error", "payer": None},
        {"success": True, "transaction": HASH, "network": "base", "payer": "", "amount": "1000000"},
        {"success": True, "transaction": HASH.upper().replace("X", "x"), "network": "eip155:8453", "amount": None},
        {"success": True, "transaction": "5" * 88, "network": "solana"},
        {"success": True, "transaction": "0x" + "0" * 64, "network": "base"},
        {"success": False, "errorReason": "invalid_payload", "transaction": "", "network": "base"},
        {"success": False, "errorReason": "settlement_pending", "transaction": HASH},
        {"success": False, "errorReason": "invalid_transaction_state", "transaction": ""},
        {"success": False, "errorReason": "payment_expired: nonce used", "transaction": "0x"},
    )
    for body in bodies:
        asked = "verify" if "isValid" in body else "settle"
        for whom, status in (("evm", 200), ("solana", 402), ("evm", 500), ("solana", 200)):
            yield f"{asked} {whom} {status}\n{compact(body)}"
    yield "settle evm 200\n"
    yield "settle evm 401\n<html>"


def request():
    wallet, job, project = "/v1/wallets/{agent}", "/api/v1/jobs/{job}", "/api/v1/projects/{project}"
    digest = "sha256:" + "ab" * 32
    asked = (
        ("GET", "/v1/wallets?limit=2", "op", ""),
        ("POST", "/v1/wallets", "human", {"owner_type": "agent", "owner_id": "a", "parent_wallet_id": "{human}"}),
        ("POST", "/v1/wallets", "op", {"owner_type": "human", "owner_id": "b", "spend_cap_per_job": 5.00}),
        ("GET", wallet, "agent", ""),
        ("PATCH", wallet, "human", {"allowed_gpu_types": ["A100"], "approval_threshold": None, "status": "frozen"}),
        ("POST", wallet + "/topup", "op", {"amount": 12.40, "reference": "r-1"}),
        ("POST", wallet + "/spend", "agent", {"job_id": "j-1", "amount": "4.00", "gpu_type": "RTX 4090"}),
        ("POST", wallet + "/spend", "agent", {"job_id": "j-2", "amount": 1, "host_wallet_id": "{human}", "expires_in_s": 60}),
        ("POST", "/v1/wallets/{human}/earn", "op",
         {"job_id": "j-1", "gross_amount": 3.80, "gpu_model": "RTX 4090", "duration_seconds": 10, "output_hash": digest}),
        ("POST", wallet + "/transfer", "agent", {"to_wallet_id": "{human}", "amount": 0.000001}),
        ("POST", wallet + "/release", "agent", {"job_id": "j-2"}),
        ("POST", "/v1/wallets/{human}/payouts", "human", {"amount": 1, "destination": "bank"}),
        ("GET", wallet + "/entries?limit=1&after=8", "agent", ""),
        ("GET", wallet + "/escrows", "agent", ""),
        ("GET", wallet + "/approvals", "human", ""),
        ("POST", wallet + "/keys", "human", {"label": "second"}),
        ("POST", "/v1/wallets/{human}/webhook-secret", "human", ""),
        ("GET", "/v1/webhooks?limit=1", "op", ""),
        ("POST", "/v1/webhooks/deliver", "op", ""),
        ("POST", "/v1/waitlist", "-", {"owner_id": "somebody"}),
        ("POST", "/v1/grants", "op", {"wallet_id": "{human}"}),
        ("POST", "/v1/bulk", "op", {"operations": [
            {"op": "spend", "wallet_id": "{agent}", "job_id": "b-1", "amount": 1},
            {"op": "earn", "wallet_id": "{human}", "job_id": "b-1", "gross_amount": 1, "gpu_model": "x",
             "duration_seconds": 1, "output_hash": digest}]}),
        ("GET", "/v1/receipts/consistency?old_size=0&new_size=1", "op", ""),
        ("GET", "/v1/receipts/checkpoint", "op", ""),
        ("POST", "/v1/receipts/verify", "-", "e30.e30.AA"),
        ("POST", "/v1/audit", "op", {"anchor": "calyx/1\n1\nAAAA\n"}),
        ("GET", "/v1/export?format=hledger", "op", ""),
        ("PUT", "/v1/settings", "op", {"base_url": "https://calyx.example", "networks": [
            {"network": "base", "pay_to": "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"}]}),
        ("PUT", "/v1/settings", "op", {"prices": {"cpu_second": 0.01}}),
        ("POST", "/v1/paid-calls", "op", {"price": 1, "resource": "/render"}),
        ("POST", "/api/v1/account/quotes/topup", "agent", {"amount": 100}),
        ("GET", "/api/v1/account/quotes?limit=3", "agent", ""),
        ("POST", "/api/v1/auth/wallet/challenge", "-", {"chain": "base", "address": "0x" + "ab" * 20}),
        ("POST", "/compute/credits/topup", "-", {"amount": 1}),
        ("POST", "/api/v1/jobs", "human", {"task": "t", "fan_out": {"range_field": "n", "total": 9, "chunks": 3}}),
        ("POST", "/api/v1/jobs", "human", {"task": "t", "sweep": {"grid": {"x": [1, 2], "y": {"min": 0, "max": 1, "steps": 3}}}}),
        ("POST", "/api/v1/jobs", "human", {"recipe": "packing", "payload": {"operation": "eval", "candidate": [[0, 0, 0]]}}),
        ("POST", "/api/v1/jobs/batch", "human", {"jobs": [{"task": "t"}, {"task": "u", "depends_on": ["{job}"]}]}),
        ("POST", "/api/v1/jobs/estimate", "human",
         {"task": "t", "requirements": {"gpu_count": 1, "memory_mb": 1024}, "max_budget": 4.00, "timeout_s": 60}),
        ("GET", job + "/tasks?limit=1", "human", ""),
        ("GET", job + "/events", "human", ""),
        ("GET", job + "/output?task=0", "human", ""),
        ("GET", "/api/v1/jobs/watch?ids={job}&last_event_id=0", "human", ""),
        ("PUT", job + "/cancel", "human", ""),
        ("POST", "/api/v1/workers/lease", "op", {"worker": "w", "tasks": ["t"], "tasks_max": 2, "has": {"cpu": 1}}),
        ("POST", "/api/v1/workers/report", "op", {"token": "x", "outcomes": [{"task": 0, "result": {"a": 1}}]}),
        ("POST", "/api/v1/projects", "human", {"name": "other", "description": "d"}),
        ("PUT", project + "/kv/k", "human", {"value": {"a": [1, "b"]}, "if_version": 0}),
        ("GET", project + "/kv/k", "human", ""),
        ("GET", project + "/status/details", "human", ""),
        ("POST", "/api/v1/artifacts/multipart", "human", {"name": "a", "size": 9}),
        ("GET", "/api/v1/recipes/packing", "-", ""),
        ("POST", "/api/v1/feedback", "-", {"message": "m", "contact": "c"}),
        ("GET", "/openapi.json", "-", ""),
        ("HEAD", "/api/v1/docs", "-", ""),
        ("OPTIONS", "/v1/wallets", "-", ""),
        ("GET", "/v1/wallets/%7Bx%7D?a=%41&b=%zz", "op", ""),
    )
    for method, target, whose, body in asked:
        yield f"{method} {target}\n{whose}\n\n{body if isinstance(body, str) else compact(body)}"
    spend = compact({"job_id": "j-9", "amount": 1})
    for header in ("Idempotency-Key:k-1", "Authorization:Bearer x", "Payment-Authorization:Payment e30",
                   "Accept:application/json", "Range:bytes=0-1", "Last-Event-ID:7", "If-None-Match:\"a\""):
        yield f"POST {wallet}/spend\nagent\n{header}\n{spend}"
    for row in vectors("x402_v2_exact_evm")[:2]:
        header = "PAYMENT-SIGNATURE:" + base64.b64encode(compact(row["payload"]).encode()).decode()
        yield f"POST /v1/paid-calls\nop\n{header}\n{compact({'price': 1})}"


TARGETS = {
    "account": account,
    "challenge_id": challenge_id,
    "derived_key": derived_key,
    "encoding": encoding,
    "facilitator": facilitator,
    "json": json_texts,
    "mpp_challenge": mpp_challenge,
    "mpp_credential": mpp_credential,
    "payment_terms": payment_terms,
    "receipt": receipt,
    "request": request,
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
