"""Addresses of inet and cidr: their bytes and bits, or None if the text is no form."""

import re


def v4(text):
    parts = text.split(".")
    if len(parts) != 4 or not all(re.fullmatch("0|[1-9][0-9]{0,2}", part) and int(part) < 256 for part in parts):
        return None
    return bytes(int(part) for part in parts)


def v6_text(raw):
    """Groups in lower-case hex; the longest run of two zeros or more is `::`, the first of equals. IPv4 at the end is
    written as such behind 96 bits of zeros, if it does not begin with 16 bits of zeros itself, and behind 80 bits of zeros
    and `ffff`."""
    groups = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, 16, 2)]
    best, length = None, 1
    at = 0
    while at < 8:
        end = at
        while end < 8 and groups[end] == 0:
            end += 1
        if end - at > length:
            best, length = at, end - at
        at = end + 1
    is_v4 = best == 0 and (length == 6 or length == 5 and groups[5] == 0xFFFF)
    last = [f"{groups[6]:x}", f"{groups[7]:x}"]
    if is_v4:
        last = [".".join(str(byte) for byte in raw[12:])]
    shown = [f"{group:x}" for group in groups[:6]] + last
    if best is None:
        return ":".join(shown)
    return ":".join(shown[:best]) + "::" + ":".join(shown[best + length :])


def v6(text):
    """Any spelling."""
    if "." in text:
        before, _, last = text.rpartition(":")
        four = v4(last)
        if four is None:
            return None
        text = f"{before}:{four[0] << 8 | four[1]:x}:{four[2] << 8 | four[3]:x}"
    halves = [half.split(":") if half else [] for half in text.split("::")]
    groups = [group for half in halves for group in half]
    missing = 8 - len(groups)
    if not all(re.fullmatch("[0-9a-f]{1,4}", group) for group in groups) or len(halves) > 2:
        return None
    if len(halves) == 2 and missing < 1 or len(halves) == 1 and missing != 0:
        return None
    groups = halves[0] + ["0"] * missing + (halves[1] if len(halves) == 2 else [])
    return b"".join(int(group, 16).to_bytes(2, "big") for group in groups)


def address(text):
    shown, slash, bits = text.rpartition("/")
    raw = v6(shown) if ":" in shown else v4(shown)
    if not slash or raw is None or not re.fullmatch("0|[1-9][0-9]{0,2}", bits) or int(bits) > 8 * len(raw):
        return None
    if len(raw) == 16 and v6_text(raw) != shown:
        return None
    return raw, int(bits)


def network(text):
    """An address that has nothing behind its bits."""
    found = address(text)
    if found is None or int.from_bytes(found[0], "big") & (1 << 8 * len(found[0]) - found[1]) - 1:
        return None
    return found
