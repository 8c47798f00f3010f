// Dates, times and intervals: from their forms to numbers that count from 1970-01-01 (BigInt; infinities are Numbers), or
// undefined if they are no forms. Intervals are written again and compared.

export const DAY = 86_400_000_000n;
const [BEFORE, AFTER] = [-Infinity, Infinity];
const INFINITIES = new Map([['-infinity', BEFORE], ['infinity', AFTER]]);
const LENGTHS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
// What PostgreSQL has: 4714-11-24 BC to 5874897-12-31, timestamps to the end of 294276.
const [FIRST_DATE, LAST_DATE] = [-2_440_588n, 2_145_042_905n];
const LAST_TIMESTAMP = 9_224_318_015_999_999_999n;
// A zone is less than 16 hours from UTC.
const ZONES = 16 * 3600;

function dayOf(text) {
  const found = /^([0-9]{4}|[1-9][0-9]{4,6})-([0-9]{2})-([0-9]{2})( BC)?$/.exec(text);
  if (!found || found[1] === '0000') return undefined;
  // 1 BC is the year 0.
  const [year, month, day] = [found[4] ? 1 - Number(found[1]) : Number(found[1]), Number(found[2]), Number(found[3])];
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const length = LENGTHS[month - 1] + (isLeap && month === 2 ? 1 : 0);
  if (!(day >= 1 && day <= length)) return undefined;
  const before = year - 1;
  const leaps = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400);
  const months = LENGTHS.slice(0, month - 1).reduce((all, one) => all + one, isLeap && month > 2 ? 1 : 0);
  return BigInt(365 * before + leaps + months + day - 719_163);
}

/** Days. */
export const date = (text) => INFINITIES.get(text) ?? dayOf(text);

export const hasDate = (days) => typeof days === 'number' || (days >= FIRST_DATE && days <= LAST_DATE);

export const hasTimestamp = (us) => typeof us === 'number' || (us >= FIRST_DATE * DAY && us <= LAST_TIMESTAMP);

/** Microseconds from midnight. */
export function time(text) {
  const found = /^([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{0,5}[1-9]))?$/.exec(text);
  if (!found || found[2] > '59' || found[3] > '59') return undefined;
  const seconds = (Number(found[1]) * 60 + Number(found[2])) * 60 + Number(found[3]);
  const us = BigInt(seconds) * 1_000_000n + BigInt((found[4] ?? '').padEnd(6, '0'));
  return us <= DAY ? us : undefined;
}

/** Microseconds from midnight there, and seconds east of UTC. */
export function timetz(text) {
  const found = /^([^+-]*)([+-])([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?$/.exec(text);
  if (!found) return undefined;
  const [, clock, sign, hours, minutes, seconds] = found;
  const us = time(clock);
  const zone = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds ?? 0);
  const isOther = minutes > '59' || seconds > '59' || seconds === '00' || zone >= ZONES || (sign === '-' && zone === 0);
  return us === undefined || isOther ? undefined : [us, sign === '-' ? -zone : zone];
}

function moment(text, zone) {
  if (INFINITIES.has(text)) return INFINITIES.get(text);
  const found = new RegExp(`^([^T ]*)T([0-9:.]*)${zone}( BC)?$`).exec(text);
  if (!found) return undefined;
  const [day, us] = [dayOf(found[1] + (found[3] ?? '')), time(found[2])];
  return day === undefined || us === undefined || us === DAY ? undefined : day * DAY + us;
}

/** Microseconds. */
export const timestamp = (text) => moment(text, '');
export const timestamptz = (text) => moment(text, 'Z');

function intervalText(allMonths, days, allUs) {
  // BigInt divides towards zero, and the rest has the sign of the whole.
  const us = allUs % 60_000_000n;
  const size = us < 0n ? -us : us;
  const fraction = size % 1_000_000n ? `.${String(size % 1_000_000n).padStart(6, '0').replace(/0+$/, '')}` : '';
  const seconds = size ? `${us < 0n ? '-' : ''}${size / 1_000_000n}${fraction}S` : '';
  const parts = (...all) => all.map(([n, unit]) => (n ? `${n}${unit}` : '')).join('');
  const day = parts([allMonths / 12n, 'Y'], [allMonths % 12n, 'M'], [days, 'D']);
  const clock = parts([allUs / 3_600_000_000n, 'H'], [(allUs / 60_000_000n) % 60n, 'M']) + seconds;
  return day || clock ? `P${day}${clock && 'T'}${clock}` : 'PT0S';
}

/** Months, days and microseconds. */
export function interval(text) {
  if (INFINITIES.has(text)) return INFINITIES.get(text);
  const n = (unit) => `(?:(-?[0-9]{1,19})${unit})?`;
  const clock = `(?:T${n('H')}${n('M')}(?:(-?)([0-9]{1,19})(?:\\.([0-9]{1,6}))?S)?)?`;
  const found = new RegExp(`^P${n('Y')}${n('M')}${n('D')}${clock}$`).exec(text);
  if (!found) return undefined;
  const [years, some, days, hours, minutes] = found.slice(1, 6).map((part) => BigInt(part ?? 0));
  const size = BigInt(found[7] ?? 0) * 1_000_000n + BigInt((found[8] ?? '').padEnd(6, '0'));
  const [months, us] = [years * 12n + some, (hours * 60n + minutes) * 60_000_000n + (found[6] ? -size : size)];
  const fits = [[months, 32], [days, 32], [us, 64]].every(([number, bits]) => BigInt.asIntN(bits, number) === number);
  return fits && intervalText(months, days, us) === text ? [months, days, us] : undefined;
}
