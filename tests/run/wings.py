"""Calls go down only: fails where a wing of src/ names one above it in the list of src/lib.rs, or one not listed.
That a wing is entered by its door alone is the compiler's to see: other modules than those its door names are private."""

import pathlib
import re
import sys

SRC = pathlib.Path(__file__).parents[2] / "src"
LIB = SRC / "lib.rs"
WINGS = re.findall(r"^//! - \[`(\w+)`\]", LIB.read_text(), re.M)
CRATES = {"envelope", "gcm"}

faults = []
for path in sorted(SRC.rglob("*.rs")):
    wing = path.relative_to(SRC).parts[0].removesuffix(".rs")
    if path == LIB or wing == "tests" or wing in CRATES:
        continue
    if wing not in WINGS:
        faults.append(f"{path}: wing {wing} is not in the list of src/lib.rs")
        continue
    code = re.sub(r"//.*", "", path.read_text())
    for named in re.finditer(r"\bcrate::(?:(\w+)|\{(.*?)\};)", code, re.S):
        # Of a group only what stands outermost is a wing.
        for other in re.findall(r"\w+", named[1] or re.sub(r"::(\w+|\{[^{}]*\})", "", named[2])):
            if other not in WINGS or WINGS.index(other) < WINGS.index(wing):
                line = code.count("\n", 0, named.start()) + 1
                faults.append(f"{path}:{line}: {wing} must not know {other}")
for root in WINGS:
    if not (SRC / root / "mod.rs").exists() and not (SRC / f"{root}.rs").exists():
        faults.append(f"src/lib.rs lists {root}, which is not there")
sys.exit("\n".join(faults) or None)
