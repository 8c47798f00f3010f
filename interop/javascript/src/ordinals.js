// Typed values as numbers in the order of their type, and their index forms. In come canonical forms.

import * as dates from './dates.js';
import { EnvelopeError } from './errors.js';
import { numberOf, scalar } from './forms.js';
import { ALL, HALF } from './rules.js';

export const SUBJECTS = new Map(Object.entries({
  int2: 'int', int4: 'int', int8: 'int', float4: 'float', float8: 'float', numeric: 'numeric',
  date: 'date', time: 'time', timestamp: 'timestamp', timestamptz: 'timestamptz',
}));
const NAMES = new Map(Object.entries({
  NaN: 'NaN', Infinity: 'infinity', '-Infinity': '-infinity', infinity: 'infinity', '-infinity': '-infinity',
}));
/** No index takes a value of these. */
export const WITHOUT = ['bool', 'json', 'jsonb'];

/** The bits of a double; those of 0 for -0. */
function bitsOf(number) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number === 0 ? 0 : number);
  return view.getBigUint64(0);
}

export function ofDouble(number) {
  const bits = bitsOf(number);
  return bits < HALF ? bits | HALF : bits ^ (ALL - 1n);
}

function ofNumeric(text, scale) {
  const [whole, decimals = ''] = text.replace('-', '').split('.');
  const isShort = scale >= 0;
  const shown = isShort ? whole + decimals.slice(0, scale).padEnd(scale, '0') : whole.slice(0, scale) || '0';
  const dropped = isShort ? decimals.slice(scale) : whole.slice(scale) + decimals;
  if (/[1-9]/.test(dropped) || shown.replace(/^0+/, '').length > 18) throw new EnvelopeError('no_form');
  return HALF + BigInt(shown) * (text.startsWith('-') ? -1n : 1n);
}

/** A number from 0 to 2^64 - 1 (BigInt), or the name of a value that has none. */
export function ordinalOf(name, text, scale) {
  if (NAMES.has(text)) return NAMES.get(text);
  if (name === 'float4' || name === 'float8') return ofDouble(numberOf(name, text));
  if (name === 'numeric') return ofNumeric(text, Number(scale));
  if (SUBJECTS.get(name) === 'int') return HALF + BigInt(text);
  const value = dates[name](text);
  return HALF + (value < HALF ? value : HALF - 1n);
}

/** Of the form of a value, as bytes. */
export function ordinal(name, form, scale) {
  if (!SUBJECTS.has(name)) throw new EnvelopeError('no_form');
  return ordinalOf(name, scalar(name, form), scale);
}

/** What is hashed of a value under `exact/1`. */
export function indexForm(name, form) {
  if (WITHOUT.includes(name)) throw new EnvelopeError('no_form');
  const text = scalar(name, form);
  if (name === 'float4' || name === 'float8') {
    const number = numberOf(name, text);
    return Number.isNaN(number) ? '7ff8000000000000' : bitsOf(number).toString(16).padStart(16, '0');
  }
  if (name === 'numeric') return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
  if (name !== 'interval' || NAMES.has(text)) return text;
  const [months, days, us] = dates.interval(text);
  return String((30n * months + days) * dates.DAY + us);
}
