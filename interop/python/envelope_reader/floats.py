"""The text of a float, as PostgreSQL writes it with `extra_float_digits = 1`."""

import math
import struct
from fractions import Fraction

# Format of struct for the number and for its bits, bits of the fraction, the first exponent written as such.
SORTS = {"float4": (">f", ">I", 23, 6), "float8": (">d", ">Q", 52, 15)}


def shortest(bits, fraction_bits, total_bits):
    """Digits and the exponent of their last: the fewest digits of a decimal strictly inside the interval of what rounds
    to the float, and of these decimals the nearest, the even one of two."""
    exponent_bits = total_bits - 1 - fraction_bits
    fraction, exponent = bits & (1 << fraction_bits) - 1, bits >> fraction_bits & (1 << exponent_bits) - 1
    mantissa = fraction | (1 << fraction_bits if exponent else 0)
    unit = Fraction(2) ** (max(exponent, 1) - (1 << exponent_bits - 1) + 1 - fraction_bits)
    value = mantissa * unit
    # Below a power of two the floats are twice as dense.
    low = value - unit / (4 if fraction == 0 and exponent > 1 else 2)
    high = value + unit / 2
    power = math.floor(math.log10(value.numerator) - math.log10(value.denominator)) + 2
    while True:
        power -= 1
        ten = Fraction(10) ** power
        below = math.floor(value / ten)
        fits = [one for one in (below, below + 1) if low < one * ten < high and one]
        if fits:
            return str(min(fits, key=lambda one: (abs(one * ten - value), one % 2))), power


def float_form(sort, number):
    """Of a Python float; one that is to be a float4 must be one."""
    as_number, as_bits, fraction_bits, first_exponent = SORTS[sort]
    if number != number:
        return "NaN"
    sign = "-" if math.copysign(1, number) < 0 else ""
    if math.isinf(number):
        return sign + "Infinity"
    if number == 0:
        return sign + "0"
    bits, = struct.unpack(as_bits, struct.pack(as_number, abs(number)))
    digits, power = shortest(bits, fraction_bits, 8 * struct.calcsize(as_bits))
    digits, power = digits.rstrip("0"), power + len(digits) - len(digits.rstrip("0"))
    exponent = len(digits) - 1 + power
    if exponent < -4 or exponent >= first_exponent:
        return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if exponent < 0:
        return sign + "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return sign + whole + ("." + digits[exponent + 1 :] if digits[exponent + 1 :] else "")


def float4(text):
    """The float4 nearest to a decimal text, or None beyond the largest: rounded once, not by way of a float8."""
    exact, wide = Fraction(text), float(text)
    try:
        near, = struct.unpack(">f", struct.pack(">f", wide))
    except OverflowError:
        return None
    if math.isinf(near):
        return None
    bits, = struct.unpack(">i", struct.pack(">f", abs(near)))
    around = [struct.unpack(">f", struct.pack(">i", one))[0] for one in (bits - 1, bits, bits + 1) if 0 <= one]
    around = [one for one in around if not math.isinf(one)]
    best = min(around, key=lambda one: (abs(Fraction(one) - abs(exact)), struct.pack(">f", one)[3] & 1))
    return math.copysign(best, near)
