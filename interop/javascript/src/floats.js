// The text of a float, as PostgreSQL writes it with `extra_float_digits = 1`. Exact, by integers of any size.

// Bits of the fraction and of the exponent, the first exponent that is written as such.
const SORTS = { float4: [23n, 8n, 6], float8: [52n, 11n, 15] };

function bitsOf(sort, number) {
  const view = new DataView(new ArrayBuffer(8));
  if (sort === 'float8') {
    view.setFloat64(0, number);
    return view.getBigUint64(0);
  }
  view.setFloat32(0, number);
  return BigInt(view.getUint32(0));
}

/** `[n, d]` with n/d = mantissa · 2^exponent. */
function scaled(mantissa, exponent) {
  return exponent >= 0n ? [mantissa << exponent, 1n] : [mantissa, 1n << -exponent];
}

/** Mantissa and exponent of a number that is finite and not negative. */
function split(sort, number) {
  const [fractionBits, exponentBits] = SORTS[sort];
  const bits = bitsOf(sort, number);
  const fraction = bits & ((1n << fractionBits) - 1n);
  const exponent = bits >> fractionBits;
  const mantissa = exponent ? fraction | (1n << fractionBits) : fraction;
  const least = exponent || 1n;
  return { mantissa, exponent: least - (1n << (exponentBits - 1n)) + 1n - fractionBits, isPower: fraction === 0n && exponent > 1n };
}

const distance = (a, b) => (a > b ? a - b : b - a);

/**
 * Digits and the exponent of their last: the fewest digits of a decimal strictly inside the interval of what rounds to the
 * float, and of these decimals the nearest, the even one of two.
 */
function shortest(sort, number) {
  const { mantissa, exponent, isPower } = split(sort, number);
  // In quarters of the last bit: the neighbour below a power of two is at half the distance.
  const [value, below, above] = [4n * mantissa, isPower ? 1n : 2n, 2n];
  const [unit, denominator] = scaled(1n, exponent - 2n);
  for (let power = BigInt(Math.floor(Math.log10(number))) + 2n; ; power -= 1n) {
    const [ten, tenth] = power >= 0n ? [10n ** power, 1n] : [1n, 10n ** -power];
    // All in units of 1 / (denominator · tenth).
    const [at, step] = [value * unit * tenth, ten * denominator];
    const [low, high] = [at - below * unit * tenth, at + above * unit * tenth];
    const first = at / step;
    const fits = [first, first + 1n].filter((one) => one > 0n && one * step > low && one * step < high);
    if (fits.length === 2) {
      const [a, b] = fits.map((one) => distance(one * step, at));
      return [fits[a < b || (a === b && first % 2n === 0n) ? 0 : 1].toString(), Number(power)];
    }
    if (fits.length === 1) return [fits[0].toString(), Number(power)];
  }
}

/** One that is to be a float4 must be one. */
export function floatForm(sort, number) {
  if (Number.isNaN(number)) return 'NaN';
  const sign = number < 0 || Object.is(number, -0) ? '-' : '';
  if (!Number.isFinite(number)) return `${sign}Infinity`;
  if (number === 0) return `${sign}0`;
  const [found, power] = shortest(sort, Math.abs(number));
  const digits = found.replace(/0+$/, '');
  const exponent = found.length - 1 + power;
  if (exponent < -4 || exponent >= SORTS[sort][2]) {
    const point = digits.length > 1 ? '.' : '';
    const written = String(Math.abs(exponent)).padStart(2, '0');
    return `${sign}${digits[0]}${point}${digits.slice(1)}e${exponent < 0 ? '-' : '+'}${written}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const decimals = digits.slice(exponent + 1);
  return sign + digits.slice(0, exponent + 1).padEnd(exponent + 1, '0') + (decimals && `.${decimals}`);
}

/** The float4 nearest to a decimal text, or undefined beyond the largest: rounded once, not by way of a float8. */
export function float4(text) {
  const [, sign, whole, decimals = '', shift = '0'] = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:e([+-]?[0-9]+))?$/.exec(text);
  const near = Math.abs(Math.fround(Number(text)));
  if (near === Infinity) return undefined;
  const power = BigInt(shift) - BigInt(decimals.length);
  // Beyond what any float4 is near to; such powers would be large numbers for nothing.
  if (near === 0 && Number(text) === 0) return sign ? -0 : 0;
  const digits = BigInt(whole + decimals);
  const [exact, under] = power >= 0n ? [digits * 10n ** power, 1n] : [digits, 10n ** -power];
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, near);
  const bits = view.getUint32(0);
  let best;
  for (const one of [bits - 1, bits, bits + 1]) {
    if (one < 0 || one >= 0x7f800000) continue;
    view.setUint32(0, one);
    const number = view.getFloat32(0);
    const { mantissa, exponent } = split('float4', number);
    const [n, d] = scaled(mantissa, exponent);
    // Over one denominator for all three: 2^149 · under.
    const off = distance((n * (1n << 149n) * under) / d, exact * (1n << 149n));
    if (!best || off < best.off || (off === best.off && one % 2 === 0)) best = { off, number };
  }
  return sign ? -best.number : best.number;
}
