// Terms and tokens: payloads under an index key.

import { createHmac } from 'node:crypto';
import { netstring } from './context.js';
import { EnvelopeError } from './errors.js';
import { expand, keyId } from './keys.js';
import { Rule } from './rules.js';

const TOKEN = 8;
const NO_VALUE_HAS = Buffer.from([0xff]);

const ascending = (numbers) => [...new Set(numbers)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));

/** From the data key of an index: `Keyring.indexKeys` gives them. Tokens are BigInt. */
export class IndexKey {
  #key;

  constructor(dataKey) {
    this.id = keyId(dataKey);
    this.#key = expand(dataKey, 'envelope/1 index', 32);
  }

  #hashed(label, rule, n, payload) {
    if (!(n >= 1 && n <= 32)) throw new EnvelopeError('bad_term');
    const message = [netstring(label), netstring(new Rule(rule).text), Buffer.from([n]), payload];
    return createHmac('sha256', this.#key).update(Buffer.concat(message)).digest().subarray(0, n);
  }

  /** What a term column has. */
  term(label, rule, payload, n) {
    return Buffer.concat([this.id.subarray(0, 2), this.#hashed(label, rule, n ?? new Rule(rule).n, payload)]);
  }

  token(label, rule, payload) {
    return this.#hashed(label, rule, TOKEN, payload).readBigInt64BE();
  }

  get marker() {
    return this.id.readBigInt64BE();
  }

  /** For a question: each once, ascending. Without payloads the token that no value has. */
  tokens(label, rule, payloads) {
    const all = payloads.length > 0 ? payloads : [NO_VALUE_HAS];
    return ascending(all.map((payload) => this.token(label, rule, payload)));
  }

  /** What a token column has while one index key is in use. */
  stored(label, rule, payloads) {
    return ascending([this.marker, ...payloads.map((payload) => this.token(label, rule, payload))]);
  }
}
