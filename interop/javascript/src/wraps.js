// Wrapped data keys: by a key file, and by a token or key server that has the KEK for itself.
//
// What AWS KMS wrapped only AWS KMS opens, and what OpenBao or Vault wrapped only they: `Keyring` takes functions that ask.

import { contextBytes, contextJson } from './context.js';
import { EnvelopeError } from './errors.js';
import * as keys from './keys.js';
import * as xaes from './xaes.js';

const HEADER = 18;
const FILE_WRAP = HEADER + xaes.NONCE + keys.KEY + xaes.TAG;
const SHORTEST_IV = 12;
// What OpenSSL takes.
const LONGEST_IV = 128;

/** `kek`: the 32 bytes of the key file. */
export function unwrapByFile(kek, wrapped, context) {
  const associated = contextBytes(context);
  const own = keys.textOf(keys.kekId(kek));
  const bytes = Buffer.from(wrapped);
  if (bytes.length !== FILE_WRAP || bytes[0] !== 0xf7 || bytes[1] !== 0x57) throw new EnvelopeError('not_a_wrap');
  const named = keys.textOf(bytes.subarray(2, HEADER));
  if (named !== own) throw new EnvelopeError('other_kek', `needs ${named}, this is ${own}`);
  const nonce = bytes.subarray(HEADER, HEADER + xaes.NONCE);
  return xaes.opened(keys.expand(kek, 'envelope/1 wrap', 32), nonce, bytes.subarray(HEADER + xaes.NONCE),
    Buffer.concat([bytes.subarray(0, HEADER), associated]));
}

/** IV, ciphertext and tag, for who asks a token or a key server to decrypt them by AES-256-GCM. */
export function tokenWrap(wrapped) {
  const bytes = Buffer.from(wrapped);
  const length = bytes[2] ?? 0;
  if (bytes[0] !== 0xf7 || bytes[1] !== 0x58 || length < SHORTEST_IV || bytes.length !== 3 + length + keys.KEY + xaes.TAG) {
    throw new EnvelopeError('not_a_wrap');
  }
  const end = bytes.length - xaes.TAG;
  return { iv: bytes.subarray(3, 3 + length), ciphertext: bytes.subarray(3 + length, end), tag: bytes.subarray(end) };
}

/** The associated data that the token or key server is to check. */
export const tokenAssociatedData = (context) => Buffer.from(`envelope/1 kms wrap,${contextJson(context)}`);

/** Where the KEK itself is at hand, as from a backup of a token: 32 bytes. */
export function unwrapByTokenKey(kek, wrapped, context) {
  const associated = tokenAssociatedData(context);
  const key = keys.checked(kek);
  const { iv, ciphertext, tag } = tokenWrap(wrapped);
  if (iv.length > LONGEST_IV) throw new EnvelopeError('long_iv');
  return xaes.gcmOpened(key, iv, ciphertext, tag, associated);
}
