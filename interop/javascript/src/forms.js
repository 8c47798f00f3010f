// Canonical forms: what `envelope_encrypt_as` and policies seal, back to text. Strict, as the database is: what is not byte
// for byte the form of a value is an error.

import * as arrays from './arrays.js';
import * as dates from './dates.js';
import { EnvelopeError } from './errors.js';
import { float4, floatForm } from './floats.js';
import { address, network } from './network.js';
import { MARKED, Type, unfilled } from './types.js';

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
// Of PostgreSQL's numeric.
const [DIGITS_BEFORE, DIGITS_AFTER] = [131_072, 16_383];
const NAMED = new Map([['NaN', NaN], ['Infinity', Infinity], ['-Infinity', -Infinity]]);

function isInteger(text, bits) {
  return /^(0|-?[1-9][0-9]{0,18})$/.test(text) && BigInt.asIntN(bits, BigInt(text)) === BigInt(text);
}

function isNumeric(text) {
  if (NAMED.has(text)) return true;
  const [, sign, whole, decimals = ''] = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?$/.exec(text) ?? [];
  if (whole === undefined || whole.length > DIGITS_BEFORE || decimals.length > DIGITS_AFTER) return false;
  return !sign || /[1-9]/.test(whole + decimals);
}

/** The float that a text in decimal notation stands for: with any digits, not only its form. Else undefined. */
export function numberOf(sort, text) {
  if (NAMED.has(text)) return NAMED.get(text);
  if (!/^-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,400})?(e[+-][0-9]{2,3})?$/.test(text)) return undefined;
  if (sort === 'float4') return float4(text);
  return Number.isFinite(Number(text)) ? Number(text) : undefined;
}

function isFloat(sort, text) {
  const number = numberOf(sort, text);
  return number !== undefined && floatForm(sort, number) === text;
}

const isRead = (read, has = () => true) => (text) => {
  const found = read(text);
  return found !== undefined && has(found);
};

const CHECKS = {
  bool: (text) => text === 'true' || text === 'false',
  int2: (text) => isInteger(text, 16),
  int4: (text) => isInteger(text, 32),
  int8: (text) => isInteger(text, 64),
  numeric: isNumeric,
  float4: (text) => isFloat('float4', text),
  float8: (text) => isFloat('float8', text),
  date: isRead(dates.date, dates.hasDate),
  time: isRead(dates.time),
  timetz: isRead(dates.timetz),
  timestamp: isRead(dates.timestamp, dates.hasTimestamp),
  timestamptz: isRead(dates.timestamptz, dates.hasTimestamp),
  interval: isRead(dates.interval),
  uuid: (text) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text),
  inet: isRead(address),
  cidr: isRead(network),
  enum: (text) => !text.includes('\0'),
};

function decoded(bytes, otherwise) {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new EnvelopeError(otherwise);
  }
}

/** 22021 in the database. */
export function textOf(bytes) {
  const text = decoded(bytes, 'not_text');
  if (text.includes('\0')) throw new EnvelopeError('not_text');
  return text;
}

export function scalar(name, form) {
  if (MARKED.has(name)) return textOf(form);
  const text = decoded(form, 'no_form');
  if (!CHECKS[name](text)) throw new EnvelopeError('no_form');
  return text;
}

function bytesInArray(form) {
  const text = form.toString('latin1');
  if (!/^\\x([0-9a-f]{2})*$/.test(text)) throw new EnvelopeError('no_form');
  return Buffer.from(text.slice(2), 'hex');
}

/**
 * What was sealed as a value of that type: its canonical form as text, filled or not; of bytea the bytes; of an array nested
 * arrays of those, with null for NULL. json and jsonb come as their text: whether it is JSON is not looked at.
 */
export function decode(kind, plaintext) {
  const type = new Type(kind);
  const form = unfilled(type, plaintext);
  if (type.isArray) {
    const found = arrays.elements(form);
    if (!found) throw new EnvelopeError('no_form');
    return arrays.each(found, type.name === 'bytea' ? bytesInArray : (one) => scalar(type.name, one));
  }
  return type.name === 'bytea' ? form : scalar(type.name, form);
}

/** What `envelope_decrypt_text` gives: it knows no type, and takes a text's filling off. */
export const decodeText = (plaintext) => textOf(unfilled('text', plaintext));
