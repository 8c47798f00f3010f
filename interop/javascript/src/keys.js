// Where every key comes from: HKDF-Expand with SHA-256 (RFC 5869), and UUIDs of version 8 (RFC 9562).

import { createHmac } from 'node:crypto';
import { EnvelopeError } from './errors.js';

export const KEY = 32;

export function checked(key) {
  if (!(key instanceof Uint8Array) || key.length !== KEY) throw new EnvelopeError('wrong_length');
  return Buffer.from(key);
}

/** The key is the PRK. One block is enough: nothing here is longer than 32 bytes. */
export function expand(key, label, length) {
  return createHmac('sha256', checked(key)).update(label, 'ascii').update('\x01').digest().subarray(0, length);
}

function uuid8(raw) {
  const out = Buffer.from(raw);
  out[6] = (out[6] & 0x0f) | 0x80;
  out[8] = (out[8] & 0x3f) | 0x80;
  return out;
}

export const isUuid8 = (raw) => raw[6] >> 4 === 8 && raw[8] >> 6 === 2;

/** 16 bytes, which commit to the data key. */
export const keyId = (dataKey) => uuid8(expand(dataKey, 'envelope/1 key id', 16));

/** 16 bytes, of the contents of a key file. */
export const kekId = (kek) => uuid8(expand(kek, 'envelope/1 kek id', 16));

/** An id as it stands in the catalog. */
export function textOf(id) {
  const hex = Buffer.from(id).toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
