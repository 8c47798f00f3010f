// Sealed values.

import { utf8 } from './context.js';
import { EnvelopeError } from './errors.js';
import * as keys from './keys.js';
import * as xaes from './xaes.js';

const HEADER = 18;
const OVERHEAD = HEADER + xaes.NONCE + xaes.TAG;

/** By its shape alone. */
export function isSealed(sealed) {
  return sealed.length >= OVERHEAD && sealed[0] === 0xf7 && sealed[1] === 0xe1 && keys.isUuid8(sealed.subarray(2, HEADER));
}

/** The id, as text, of the data key that a value was sealed under. */
export function namedKey(sealed) {
  if (!isSealed(sealed)) throw new EnvelopeError('not_sealed');
  return keys.textOf(sealed.subarray(2, HEADER));
}

export function openedBy(dataKey, label, sealed, context) {
  const bytes = Buffer.from(sealed);
  const [named, own] = [namedKey(bytes), keys.textOf(keys.keyId(dataKey))];
  if (named !== own) throw new EnvelopeError('other_key', `needs ${named}, this is ${own}`);
  const associated = Buffer.concat([bytes.subarray(0, HEADER), utf8(context)]);
  const nonce = bytes.subarray(HEADER, HEADER + xaes.NONCE);
  return xaes.opened(keys.expand(dataKey, label, 32), nonce, bytes.subarray(HEADER + xaes.NONCE), associated);
}

/**
 * The bytes that were sealed. `context` is what `rowContext` gives for a column that binds others, and empty for one that
 * does not.
 */
export function openValue(dataKey, sealed, context = '') {
  return openedBy(dataKey, 'envelope/1 seal', sealed, context);
}
