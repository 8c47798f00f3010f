#!/usr/bin/env python3
"""Writes the tables beside it: what Unicode 15.1.0 says of code points, fixed for ever, since terms are made by it.

    make.py

Runs under Python 3.13, whose own library has the Unicode Character Database of 15.1.0: general categories, decimal
values, full case folding (C and F of CaseFolding.txt). White_Space and Default_Ignorable_Code_Point stand below as
PropList.txt and DerivedCoreProperties.txt of 15.1.0 list them.
"""

import pathlib
import unicodedata

assert unicodedata.unidata_version == "15.1.0", unicodedata.unidata_version

HERE = pathlib.Path(__file__).parent
ALL = range(0x110000)

WHITE_SPACE = [(0x9, 0xD), (0x20, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029),
               (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)]
IGNORABLE = [(0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
             (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
             (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)]


def ranges(has):
    found = []
    for code in ALL:
        if has(code):
            if found and found[-1][1] == code - 1:
                found[-1][1] = code
            else:
                found.append([code, code])
    return found


def category(code):
    return unicodedata.category(chr(code))


def decimals():
    """Ranges whose values are 0 to 9, over and over."""
    found = ranges(lambda code: category(code) == "Nd")
    for first, last in found:
        assert all(unicodedata.decimal(chr(code)) == (code - first) % 10 for code in range(first, last + 1))
    return found


def folding():
    """What folds to one code point, as runs of the same step and distance; what folds to more."""
    runs, full = [], []
    for code in ALL:
        folded = [ord(c) for c in chr(code).casefold()] if not 0xD800 <= code < 0xE000 else [code]
        if len(folded) > 1:
            full.append((code, folded + [0] * (3 - len(folded))))
        elif folded != [code]:
            distance = folded[0] - code
            if runs and runs[-1][3] == distance and runs[-1][1] == runs[-1][0] and code - runs[-1][1] in (1, 2):
                runs[-1][1:3] = [code, code - runs[-1][1]]
            elif runs and runs[-1][3] == distance and runs[-1][1] > runs[-1][0] and code - runs[-1][1] == runs[-1][2]:
                runs[-1][1] = code
            else:
                runs.append([code, code, 1, distance])
    return runs, full


def table(name, doc, kind, rows):
    lines, line = [], "   "
    for row in rows:
        if len(line) + len(row) + 2 > 116:
            lines.append(line)
            line = "   "
        line += f" {row},"
    body = "\n".join([*lines, line])
    return f"/// {doc}\n#[rustfmt::skip]\npub(super) const {name}: &[{kind}] = &[\n{body}\n];\n"


def write(file, doc, *tables):
    text = f"//! {doc} Made by `make.py` from Unicode 15.1.0: not to be edited.\n\n" + "\n".join(tables)
    (HERE / file).write_text(text)


def pairs(of):
    return [f"({first:#x}, {last:#x})" for first, last in of]


PAIR = "(u32, u32)"
write("assigned.rs", "Which code points there are.",
      table("ASSIGNED", "First and last of each range, of any general category but Cn.", PAIR,
            pairs(ranges(lambda code: category(code) != "Cn"))))
write("word.rs", "Which code points words are made of.",
      table("WORD", "First and last of each range of letters, marks and numbers (general categories L, M, N).", PAIR,
            pairs(ranges(lambda code: category(code)[0] in "LMN"))))
write("decimal.rs", "Decimal digits.",
      table("DECIMAL", "First and last of each range (Nd); from the first on the values are 0 to 9, and again.", PAIR,
            pairs(decimals())))
write("small.rs", "Short lists.",
      table("WHITE_SPACE", "The property White_Space.", PAIR, pairs(WHITE_SPACE)),
      table("IGNORABLE", "The property Default_Ignorable_Code_Point; some of these are not assigned.", PAIR, pairs(IGNORABLE)))
RUNS, FULL = folding()
write("folding.rs", "Full case folding (C and F).",
      table("RUNS", "First, last, step, and how far what each folds to is away.", "(u32, u32, u32, i32)",
            [f"({first:#x}, {last:#x}, {step}, {distance})" for first, last, step, distance in RUNS]),
      table("FULL", "What folds to several; zeros fill up.", "(u32, [u32; 3])",
            [f"({code:#x}, [{', '.join(f'{c:#x}' for c in to)}])" for code, to in FULL]))
