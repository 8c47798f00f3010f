"""The cases of the suite: what every provider must do with them.

    python -m kms.cases     prints the table provider × case
"""

from .providers import QUICK, SLOW

# What a KMS may refuse or fail to do, and the SQLSTATE of the statement that asked for it.
FAULTS = {
    "disabled": "55000",
    "deleted": "55000",
    "denied": "28000",
    "expired": "28000",
    "throttled": "53400",
    "sealed": "58030",
    "hanging": "58030",
    "down": "58030",
    "garbage": "58030",
}
# Answers of the KMS itself, which a second try would not change.
REFUSALS = ("disabled", "deleted", "denied")
# A wrap that does not belong to its key, its KEK or its context.
WRONG = dict.fromkeys(("wrong context", "changed wrap", "foreign wrap", "wrong key"), "XX001")
# What needs no fault.
ALWAYS = ("generate", "wrap", "unwrap", "rewrap", "200 at once")
WITH_HELP = ("rotated", "slow")


def sqlstate(provider, case):
    return provider.answers.get(case) or (FAULTS | WRONG)[case]


def cell(provider, case):
    """What the table says of a case: the SQLSTATE that is asserted, `yes`, or why there is none."""
    if case in provider.lacks:
        return f"none: {provider.lacks[case]}"
    return sqlstate(provider, case) if case in FAULTS | WRONG else "yes"


def table():
    providers = QUICK + SLOW
    rows = [("case", *(p.name for p in providers))]
    rows += [(case, *(cell(p, case).partition(":")[0] for p in providers)) for case in (*ALWAYS, *WITH_HELP, *WRONG, *FAULTS)]
    reasons = [f"{p.name}, {case}: {why}" for p in providers for case, why in p.lacks.items()]
    return rows, reasons


def main():
    rows, reasons = table()
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    print(*reasons, sep="\n")


if __name__ == "__main__":
    main()
