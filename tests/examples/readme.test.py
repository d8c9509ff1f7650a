"""What the README and the examples say twice is the same both times.

    readme.test.py CHECKOUT

The README's programs are the files in examples/readme, which are built and run; its links lead somewhere; and the
result that the C and Python examples sell is the one whose hash they name.
"""

import hashlib
import re
import sys
from pathlib import Path


def faults(root: Path) -> list[str]:
    found = []
    readme = (root / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    for language, name in (("cpp", "first.cpp"), ("python", "first.py"), ("c", "first.c")):
        printed = [text for tag, text in blocks if tag == language]
        if printed != [(root / "examples/readme" / name).read_text(encoding="utf-8")]:
            found.append(f"the README's program in {language} is not examples/readme/{name}, word for word and once")

    for page in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md"):
        text = (root / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            if "://" not in target and not (root / target).exists():
                found.append(f"{page} links to {target}, which is not there")

    kept = (root / "examples/packing_result.json").read_bytes()
    if f'"sha256:{hashlib.sha256(kept).hexdigest()}"' not in (root / "examples/first_job.c").read_text(encoding="utf-8"):
        found.append("OUTPUT_HASH in examples/first_job.c is not the hash of examples/packing_result.json")
    return found


if __name__ == "__main__":
    said = faults(Path(sys.argv[1]))
    print("\n".join(said) or "the README and the examples agree")
    sys.exit(1 if said else 0)
