"""Dates, times and intervals: from their forms to numbers that count from 1970-01-01, or None if they are no forms.

Forms that have one text only by their grammar are read by it; intervals are written again and compared."""

import re

DAY = 86_400_000_000
BEFORE, AFTER = float("-inf"), float("inf")
INFINITIES = {"-infinity": BEFORE, "infinity": AFTER}
LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# What PostgreSQL has: 4714-11-24 BC to 5874897-12-31, timestamps to the end of 294276.
FIRST_DATE, LAST_DATE = -2_440_588, 2_145_042_905
LAST_TIMESTAMP = 9_224_318_016_000_000_000 - 1
# A zone is less than 16 hours from UTC.
ZONES = 16 * 3600


def day_of(text):
    found = re.fullmatch(r"([0-9]{4}|[1-9][0-9]{4,6})-([0-9]{2})-([0-9]{2})( BC)?", text)
    if not found or found[1] == "0000":
        return None
    # 1 BC is the year 0.
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    year = 1 - year if found[4] else year
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= LENGTHS[month - 1] + (leap and month == 2):
        return None
    before = year - 1
    months = sum(LENGTHS[: month - 1]) + (leap and month > 2)
    return 365 * before + before // 4 - before // 100 + before // 400 + months + day - 719_163


def date(text):
    """Days."""
    if text in INFINITIES:
        return INFINITIES[text]
    return day_of(text)


def has_date(number):
    return number in (BEFORE, AFTER) or FIRST_DATE <= number <= LAST_DATE


def has_timestamp(number):
    return number in (BEFORE, AFTER) or FIRST_DATE * DAY <= number <= LAST_TIMESTAMP


def time(text):
    """Microseconds from midnight."""
    found = re.fullmatch(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{0,5}[1-9]))?", text)
    if not found or int(found[2]) > 59 or int(found[3]) > 59:
        return None
    seconds = (int(found[1]) * 60 + int(found[2])) * 60 + int(found[3])
    us = seconds * 1_000_000 + int((found[4] or "").ljust(6, "0"))
    return us if us <= DAY else None


def timetz(text):
    """Microseconds from midnight there, and seconds east of UTC."""
    found = re.fullmatch(r"([^+-]*)([+-])([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?", text)
    if not found:
        return None
    us, hours, minutes, seconds = time(found[1]), int(found[3]), int(found[4]), int(found[5] or "0")
    zone = (hours * 60 + minutes) * 60 + seconds
    if us is None or minutes > 59 or seconds > 59 or zone >= ZONES or found[5] == "00" or found[2] == "-" and zone == 0:
        return None
    return us, -zone if found[2] == "-" else zone


def moment(text, zone):
    """Microseconds."""
    if text in INFINITIES:
        return INFINITIES[text]
    found = re.fullmatch(r"([^T]*)T([0-9:.]*)" + zone + "( BC)?", text)
    if not found:
        return None
    day, us = day_of(found[1] + (found[3] or "")) if " BC" not in found[1] else None, time(found[2])
    if day is None or us is None or us == DAY:
        return None
    return day * DAY + us


def timestamp(text):
    return moment(text, "")


def timestamptz(text):
    return moment(text, "Z")


def interval_text(months, days, us):
    def split(number, by):
        """The quotient towards zero, and the rest, which has the sign of the whole."""
        quotient = abs(number) // by * (-1 if number < 0 else 1)
        return quotient, number - quotient * by
    years, months = split(months, 12)
    hours, us = split(us, 3_600_000_000)
    minutes, us = split(us, 60_000_000)
    seconds, fraction = split(us, 1_000_000)
    shown = f"{'-' if us < 0 else ''}{abs(seconds)}" + (f".{abs(fraction):06}".rstrip("0") if fraction else "")
    day = "".join(f"{n}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n)
    clock = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (shown, "S")) if n not in (0, "0"))
    return f"P{day}{'T' if clock else ''}{clock}" if day or clock else "PT0S"


def interval(text):
    """Months, days and microseconds."""
    if text in INFINITIES:
        return INFINITIES[text]
    n = r"(?:(-?[0-9]{1,19})%s)?"
    found = re.fullmatch(f"P{n % 'Y'}{n % 'M'}{n % 'D'}(?:T{n % 'H'}{n % 'M'}"
                         r"(?:(-?)([0-9]{1,19})(?:\.([0-9]{1,6}))?S)?)?", text)
    if not found:
        return None
    years, months, days, hours, minutes = (int(part or "0") for part in found.groups()[:5])
    us = int(found[7] or "0") * 1_000_000 + int((found[8] or "").ljust(6, "0"))
    months, us = years * 12 + months, (hours * 60 + minutes) * 60_000_000 + (-us if found[6] else us)
    fits = all(-(1 << bits - 1) <= n < 1 << bits - 1 for n, bits in ((months, 32), (days, 32), (us, 64)))
    return (months, days, us) if fits and interval_text(months, days, us) == text else None
