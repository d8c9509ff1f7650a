"""A wallet of an EVM chain that signs payments, in Python's standard library alone: slow, and for tests."""

import base64
import json
import secrets
import time

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def keccak256(data):
    mask = 2**64 - 1
    lanes = [[0] * 5 for _ in range(5)]
    padded = bytearray(data + b"\x01" + b"\x00" * (135 - len(data) % 136))
    padded[-1] |= 0x80
    for block in range(0, len(padded), 136):
        for i in range(17):
            lanes[i % 5][i // 5] ^= int.from_bytes(padded[block + 8 * i : block + 8 * i + 8], "little")
        register = 1
        for _ in range(24):
            sums = [column[0] ^ column[1] ^ column[2] ^ column[3] ^ column[4] for column in lanes]
            for x in range(5):
                left = sums[(x + 1) % 5]
                turned = sums[(x + 4) % 5] ^ ((left << 1 | left >> 63) & mask)
                lanes[x] = [lane ^ turned for lane in lanes[x]]
            x, y, lane = 1, 0, lanes[1][0]
            for step in range(24):
                by = (step + 1) * (step + 2) // 2 % 64
                x, y = y, (2 * x + 3 * y) % 5
                lane, lanes[x][y] = lanes[x][y], (lane << by | lane >> (64 - by)) & mask
            for y in range(5):
                row = [lanes[x][y] for x in range(5)]
                for x in range(5):
                    lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & mask & row[(x + 2) % 5])
            for bit in range(7):
                if register & 1:
                    lanes[0][0] ^= 1 << (2**bit - 1)
                register = (register << 1) ^ (0x171 * (register >> 7))
    return b"".join(lanes[x][0].to_bytes(8, "little") for x in range(4))


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if a[1] != b[1]:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(number):
    out, power = None, G
    while number:
        if number & 1:
            out = add(out, power)
        power = add(power, power)
        number >>= 1
    return out


def word(number):
    return number.to_bytes(32, "big")


class EvmWallet:
    def __init__(self):
        self.secret = secrets.randbelow(N - 1) + 1
        x, y = times(self.secret)
        self.address = "0x" + keccak256(word(x) + word(y))[12:].hex()

    def sign(self, digest):
        k = secrets.randbelow(N - 1) + 1
        x, y = times(k)
        r = x % N
        s = pow(k, -1, N) * (int.from_bytes(digest, "big") + r * self.secret) % N
        odd = y & 1
        if s > N // 2:
            s, odd = N - s, 1 - odd
        return "0x" + (word(r) + word(s) + bytes([27 + odd])).hex()

    def pay(self, requirement):
        """The document of x402's version 2 that pays `requirement`, by EIP-3009."""
        authorization = {
            "from": self.address,
            "to": requirement["payTo"],
            "value": requirement["amount"],
            "validAfter": "0",
            "validBefore": str(int(time.time()) + 600),
            "nonce": "0x" + secrets.token_hex(32),
        }
        address = lambda text: bytes(12) + bytes.fromhex(text[2:])
        domain = keccak256(
            keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
            + keccak256(requirement["extra"]["name"].encode())
            + keccak256(requirement["extra"]["version"].encode())
            + word(int(requirement["network"].removeprefix("eip155:")))
            + address(requirement["asset"])
        )
        message = keccak256(
            keccak256(
                b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,"
                b"uint256 validBefore,bytes32 nonce)"
            )
            + address(authorization["from"])
            + address(authorization["to"])
            + b"".join(word(int(authorization[name])) for name in ("value", "validAfter", "validBefore"))
            + bytes.fromhex(authorization["nonce"][2:])
        )
        signature = self.sign(keccak256(b"\x19\x01" + domain + message))
        return {
            "x402Version": 2,
            "accepted": requirement,
            "payload": {"signature": signature, "authorization": authorization},
        }


def header(document):
    return base64.b64encode(json.dumps(document).encode()).decode()
