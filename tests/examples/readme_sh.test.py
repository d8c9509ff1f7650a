"""The README's shell blocks run as they are printed, in an empty home, after what ./dev demo leaves.

    readme_sh.test.py CHECKOUT BUILD

BUILD stands where ./dev demo builds (build/release). Left out are blocks that install packages (./dev), or need PyPI
(pip); of those that need a port, only its number is changed. A block whose tool is not here is skipped by name.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path


def free_port() -> str:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return str(any_port.getsockname()[1])


def main() -> int:
    checkout, build = Path(sys.argv[1]), Path(sys.argv[2])
    text = (checkout / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ran, failed = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder, "checkout")
        (here / "build").mkdir(parents=True)
        for entry in checkout.iterdir():
            if entry.name not in ("build", ".git"):
                (here / entry.name).symlink_to(entry)
        (here / "build/release").symlink_to(build)
        subprocess.run([build / "examples/first_job", here / "build/demo/cpp"], stdout=subprocess.DEVNULL, check=True)
        environment = {"HOME": folder, "PATH": "/usr/bin:/bin:/usr/local/bin", "PYTHONDONTWRITEBYTECODE": "1"}
        for block in blocks:
            first = block.splitlines()[0]
            if "./dev" in re.sub(r"#.*", "", block) or "pip install" in block:
                continue
            if "calyx_gateway" in block and not (
                os.access(build / "examples/calyx_gateway", os.X_OK) and shutil.which("curl")
            ):
                print(f"skipped, for want of the gateway or curl: {first}")
                continue
            script = "set -e\n" + block.replace("8080", free_port())
            done = subprocess.run(
                ["sh", "-c", script], cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=200
            )
            ran += 1
            wanted = '"wlt_' if "calyx_gateway" in block else ""
            if done.returncode != 0 or wanted not in done.stdout:
                failed += 1
                print(f"ended with {done.returncode}:\n{block}{done.stdout}{done.stderr}")
    if ran < 2:
        print(f"only {ran} blocks of {len(blocks)} could be run")
    return 1 if failed or ran < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
