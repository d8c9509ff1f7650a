"""The verifiers that know nothing of calyx tell "not valid" (1) from "could not tell" (2).

    verify.test.py CHECKOUT PYTHON

Run with the built package on PYTHONPATH; PYTHON has the `cryptography` library.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import calyx


def main() -> int:
    examples, python = Path(sys.argv[1]) / "examples", sys.argv[2]
    with calyx.open() as market, tempfile.TemporaryDirectory() as folder:
        owner = market.create_wallet("human", "alice")
        market.topup(owner, 10)
        owner.spend("job", 1)
        jws = owner.earn("job", 1, "ab" * 32, "CPU", 1).receipt.jws
        keys = market.public_keys()
        market.rotate_signing_key()
        other = {"keys": [key for key in market.public_keys()["keys"] if key not in keys["keys"]]}
        header, payload, signature = jws.split(".")
        rows = [
            ("good", jws, json.dumps(keys), 0),
            ("pretty keys", jws, json.dumps(keys, indent=2), 0),
            ("tampered", f"{header}.{payload[:-4]}AAAA.{signature}", json.dumps(keys), 1),
            ("by nobody known", jws, json.dumps(other), 1),
            ("no receipt", "no receipt", json.dumps(keys), 2),
            ("a deep one", "[" * 100_000, json.dumps(keys), 2),
            ("keys that are no JSON", jws, "no keys", 2),
            ("keys of nothing", jws, "", 2),
            ("no key in the set", jws, '{"keys": []}', 2),
            ("a key without its x", jws, json.dumps({"keys": [{**keys["keys"][0], "x": ""}]}), 2),
            ("a key of another length", jws, json.dumps({"keys": [{**keys["keys"][0], "x": "AAAA"}]}), 2),
            ("keys too deep", jws, "[" * 100_000, 2),
            ("keys that are not there", jws, None, 2),
        ]
        found = []
        for says, receipt, key_set, expected in rows:
            receipt_file, keys_file = Path(folder, "receipt"), Path(folder, "keys")
            receipt_file.write_text(receipt)
            keys_file.unlink(missing_ok=True)
            if key_set is not None:
                keys_file.write_text(key_set)
            for command in (
                ["sh", examples / "verify_receipt.sh", receipt_file, keys_file],
                [python, examples / "verify_receipt.py", receipt_file, keys_file],
                [sys.executable, "-m", "calyx", "verify", receipt_file, "--jwks", keys_file],
            ):
                # What is no receipt at all calyx judges, as not valid; the scripts have nothing to judge.
                by_calyx = "-m" in command
                expected_here = 1 if by_calyx and says in ("no receipt", "a deep one") else expected
                ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
                if ran.returncode != expected_here or "Traceback" in ran.stderr:
                    found.append(f"{says}: {command[1]} ended with {ran.returncode}, not {expected_here}: {ran.stderr}")
    print("\n".join(found) or "three verifiers agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
