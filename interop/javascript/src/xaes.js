// XAES-256-GCM (c2sp.org/XAES-256-GCM), opening.

import { createCipheriv, createDecipheriv } from 'node:crypto';
import { EnvelopeError } from './errors.js';

export const NONCE = 24;
export const TAG = 16;

function block(key, input) {
  return createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(input);
}

/** Left by one bit; what falls out comes back as 0x87. */
function doubled(bytes) {
  const out = Buffer.alloc(16);
  for (let at = 0; at < 16; at++) out[at] = (bytes[at] << 1) | (at < 15 ? bytes[at + 1] >> 7 : 0);
  if (bytes[0] & 0x80) out[15] ^= 0x87;
  return out;
}

/** The key of AES-GCM, from the first half of the nonce: CMAC as a KDF in counter mode. */
function derived(key, nonce) {
  const subkey = doubled(block(key, Buffer.alloc(16)));
  const half = (counter) => {
    const input = Buffer.concat([Buffer.from([0, counter, 0x58, 0]), nonce.subarray(0, 12)]);
    return block(key, input.map((byte, at) => byte ^ subkey[at]));
  };
  return Buffer.concat([half(1), half(2)]);
}

/** AES-256-GCM of a ciphertext and its tag. */
export function gcmOpened(key, iv, ciphertext, tag, associated) {
  const cipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG });
  cipher.setAAD(associated).setAuthTag(tag);
  const opened = cipher.update(ciphertext);
  try {
    cipher.final();
  } catch {
    throw new EnvelopeError('does_not_open');
  }
  return opened;
}

/** Of a ciphertext with its tag at the end. */
export function opened(key, nonce, sealed, associated) {
  const end = sealed.length - TAG;
  return gcmOpened(derived(key, nonce), nonce.subarray(12), sealed.subarray(0, end), sealed.subarray(end), associated);
}
