// The two sorts of context: of a row, which binds a value, and of a KMS, which binds a data key.

import { EnvelopeError } from './errors.js';

const LONGEST = 8192;
const ESCAPES = { '"': '\\"', '\\': '\\\\', '\b': '\\b', '\f': '\\f', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Strings of JavaScript may hold halves of surrogate pairs, which are no text. */
export function utf8(text, otherwise = 'not_text') {
  if (typeof text !== 'string' || !text.isWellFormed()) throw new EnvelopeError(otherwise);
  return Buffer.from(text, 'utf8');
}

export function netstring(text) {
  const raw = utf8(text);
  return Buffer.concat([Buffer.from(`${raw.length}:`), raw, Buffer.from(',')]);
}

/** Of a column's tag, and of the texts of the columns that the policy binds, in its order. */
export function rowContext(tag, ...parts) {
  return `envelope/1 row,${[tag, ...parts].map((part) => netstring(part).toString()).join('')}`;
}

export function quoted(text) {
  const escape = (c) => ESCAPES[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return `"${text.replace(/["\\\x00-\x1f]/g, escape)}"`;
}

/** Keys and values in the order of the keys' UTF-8 bytes, which is not that of UTF-16. */
function pairs(context) {
  if (typeof context !== 'object' || context === null || Array.isArray(context)) throw new EnvelopeError('bad_context');
  const all = Object.entries(context).map(([key, value]) => [utf8(key, 'bad_context'), utf8(value, 'bad_context')]);
  return all.sort(([a], [b]) => Buffer.compare(a, b));
}

/** The one JSON of an encryption context: what tokens and key servers bind, and OpenBao and Vault in base64. */
export function contextJson(context) {
  const text = `{${pairs(context).map((pair) => pair.map((one) => quoted(one.toString())).join(':')).join(',')}}`;
  if (Buffer.byteLength(text) > LONGEST) throw new EnvelopeError('bad_context');
  return text;
}

/** What a key file binds: each key and value behind its length. */
export function contextBytes(context) {
  contextJson(context);
  return Buffer.concat(pairs(context).flat().flatMap((text) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    return [length, text];
  }));
}

/** What OpenBao and Vault get as `context`. */
export const contextTransit = (context) => Buffer.from(contextJson(context)).toString('base64');
