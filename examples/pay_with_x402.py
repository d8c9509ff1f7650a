#!/usr/bin/env python3
"""Credits bought by x402 version 2, end to end, with no chain and no network.

A host quotes a price for credits and answers 402, which says how it is paid. A payer, who has USDC on Base, signs an
EIP-3009 authorization for just that and repeats the call with it. The market judges it, a settlement backend moves the
money, and the credits are there. The backend here is simulated: yours is a facilitator, or a node.

The payer signs with python3-cryptography; with `eth-account` most of that would be `sign_typed_data`. The exit status
is 0 only when every step held.
"""

import base64
import json
import secrets
import time

import calyx
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1
MASK = 2**64 - 1
DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
TRANSFER = "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
TRANSFER += "uint256 validBefore,bytes32 nonce)"


def keccak256(data: bytes) -> bytes:
    """The hash of EVM chains, which is SHA-3 as it was before it got its last padding."""
    rate, a = 136, [0] * 25
    padded = bytearray(data) + b"\x01" + bytes(-(len(data) + 1) % rate)
    padded[-1] |= 0x80
    for at in range(0, len(padded), rate):
        r = 1
        for i in range(rate // 8):
            a[i] ^= int.from_bytes(padded[at + 8 * i : at + 8 * i + 8], "little")
        for _ in range(24):
            c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
            d = [c[x - 1] ^ (c[(x + 1) % 5] << 1 | c[(x + 1) % 5] >> 63) & MASK for x in range(5)]
            a = [lane ^ d[i % 5] for i, lane in enumerate(a)]
            (x, y), lane = (1, 0), a[1]
            for t in range(24):
                x, y, turn = y, (2 * x + 3 * y) % 5, (t + 1) * (t + 2) // 2 % 64
                lane, a[x + 5 * y] = a[x + 5 * y], (lane << turn | lane >> (64 - turn)) & MASK
            a = [a[i] ^ ~a[i // 5 * 5 + (i + 1) % 5] & MASK & a[i // 5 * 5 + (i + 2) % 5] for i in range(25)]
            for j in range(7):
                r = (r << 1 ^ (r >> 7) * 0x71) % 256
                a[0] ^= (r >> 1 & 1) << ((1 << j) - 1)
    return b"".join(lane.to_bytes(8, "little") for lane in a[:4])


def words(*values: object) -> bytes:
    """Values as EIP-712 spells them: 32 bytes each, a text by its hash."""
    spelled = [keccak256(one.encode()) if isinstance(one, str) else one for one in values]
    return b"".join(one if isinstance(one, bytes) else one.to_bytes(32, "big") for one in spelled)


def payments_for(required: dict, key: ec.EllipticCurvePrivateKey, payer: str) -> list[str]:
    """Two values of PAYMENT-SIGNATURE, one of which pays: a signature's last bit `cryptography` does not tell."""
    asked, nonce, now = required["accepts"][0], secrets.token_bytes(32), int(time.time())
    deadline = now + asked["maxTimeoutSeconds"]
    token, chain = asked["extra"], int(asked["network"].split(":")[1])
    domain = words(DOMAIN, token["name"], token["version"], chain, int(asked["asset"], 16))
    to, value = int(asked["payTo"], 16), int(asked["amount"])
    message = words(TRANSFER, int(payer, 16), to, value, 0, deadline, nonce)
    digest = keccak256(b"\x19\x01" + keccak256(domain) + keccak256(message))
    r, s = utils.decode_dss_signature(key.sign(digest, ec.ECDSA(utils.Prehashed(SHA256()))))
    rs = words(r, min(s, ORDER - s))  # tokens take the lower of the two that hold
    authorization = {"from": payer, "to": asked["payTo"], "value": asked["amount"], "validAfter": "0",
                     "validBefore": str(deadline), "nonce": "0x" + nonce.hex()}  # fmt: skip
    payloads = [{"signature": f"0x{rs.hex()}{v:02x}", "authorization": authorization} for v in (27, 28)]
    documents = [{"x402Version": 2, "accepted": asked, "payload": payload} for payload in payloads]
    return [base64.b64encode(json.dumps(one).encode()).decode() for one in documents]


def need(held: object, what: str) -> None:
    if not held:
        raise SystemExit(f"pay_with_x402.py: {what}")


def pay_with_x402() -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    payer = "0x" + keccak256(point[1:])[-20:].hex()
    tokens = calyx.SimulatedTokens()
    tokens.mint(payer, 5_000_000)  # USD 5

    with calyx.open(settlement=tokens) as market:
        network = calyx.PaymentNetwork("base", pay_to="0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
        market.set_payment_terms(base_url="https://calyx.example", networks=[network])
        alice = market.create_wallet(owner_type="human", owner_id="alice")
        quote = market.session(alice.api_key).quote_topup(alice, 100)

        def call(headers: dict[str, str]) -> calyx.Response:
            return market.request("POST", quote.path, {"X-API-Key": alice.api_key, **headers})

        challenge = call({})
        need(challenge.status == 402, "a quote is not paid by asking")
        required = json.loads(base64.b64decode(challenge.header("PAYMENT-REQUIRED")))
        print(f"Quote      {quote.amount} FLOPS for {required['accepts'][0]['amount']} atomic units of USDC")

        for payment in payments_for(required, key, payer):
            paid = call({"PAYMENT-SIGNATURE": payment})
            if paid.status != 402 or paid.json()["details"]["code"] != "invalid_exact_evm_payload_signature":
                break
        need(paid.status == 200, paid.text)
        print(f"Pay        settled in {paid.json()['payments'][0]['transaction']}; USDC left: {tokens.balance(payer)}")
        print(f"Balance    {alice.balance}")

        again = call({"PAYMENT-SIGNATURE": payment})
        need(again.status == 200 and again.json() == paid.json(), "the same words had another answer")
        need(alice.balance == 100 and tokens.settlements == 1, "a replay moved money")
        print("Again      the same answer, and nothing moved")


if __name__ == "__main__":
    pay_with_x402()
