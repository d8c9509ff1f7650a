"""What the README and the examples say twice is the same both times.

    readme.test.py CHECKOUT

The README's programs are the files in examples/readme, which are built and run; its links lead somewhere; and the
three programs of the demo score one packing.
"""

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

    reasons = (root / "include/calyx/core/reason.hpp").read_text(encoding="utf-8")
    codes: dict[str, set[str]] = {}
    for status, code in re.findall(r"^  X\(\w+, (\w+), (\d+)\)", reasons, re.MULTILINE):
        codes.setdefault(status, set()).add(code)
    for status, said in re.findall(r"^\| \d+ `(\w+)` \|.*\| ([\d, ]+) \|$", readme, re.MULTILINE):
        if set(said.split(", ")) != codes.pop(status, set()):
            found.append(f"the README's codes of HTTP for `{status}` are not those of reason.hpp")
    if codes.keys() != {"ok"}:
        found.append(f"the README's table of errors leaves out {codes.keys() - {'ok'}}")

    def numbers(name: str, begin: str, end: str) -> list[str]:
        text = (root / name).read_text(encoding="utf-8")
        return re.findall(r"-?\d+\.\d+", text[(at := text.index(begin) + len(begin)) : text.index(end, at)])

    packing = numbers("kernels/include/calyx_kernels/packing_sample.hpp", "sample_candidate[45] = {", "}")
    for name, begin, end in (("packing_candidate.json", "[", "]"), ("first_job.c", "#define CANDIDATE", "\n\n")):
        if len(packing) != 45 or numbers(f"examples/{name}", begin, end) != packing:
            found.append(f"the packing in examples/{name} is not the one of packing_sample.hpp")
    return found


if __name__ == "__main__":
    said = faults(Path(sys.argv[1]))
    print("\n".join(said) or "the README and the examples agree")
    sys.exit(1 if said else 0)
