// What `envelope.export_keyring` gives: a table's data keys, each wrapped by its KEKs.

import { contextJson } from './context.js';
import { EnvelopeError } from './errors.js';
import { decode } from './forms.js';
import * as keys from './keys.js';
import { namedKey, openValue } from './values.js';

const FORMAT = 'envelope/1 keyring';
const PURPOSES = ['seal', 'index'];
const STATES = ['pending', 'active', 'decrypt-only', 'retired', 'destroyed'];

const bad = (why) => new EnvelopeError('not_a_keyring', why);

const KINDS = {
  text: (value) => typeof value === 'string',
  list: Array.isArray,
  flag: (value) => typeof value === 'boolean',
  integer: Number.isInteger,
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};

function field(of, name, kind) {
  const value = KINDS.object(of) && Object.hasOwn(of, name) ? of[name] : undefined;
  if (!KINDS[kind](value)) throw bad(`${name} is missing or of another type`);
  return value;
}

function keyIdOf(text) {
  if (!/^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$/.test(text)) throw bad('a key id is a UUID');
  if (!keys.isUuid8(Buffer.from(text.replaceAll('-', ''), 'hex'))) throw bad('a key id is a UUID of version 8');
  return text.toLowerCase();
}

function readWrap(of) {
  const [kek, context, text] = [field(of, 'kek', 'text'), field(of, 'kms_context', 'object'), field(of, 'wrapped', 'text')];
  try {
    contextJson(context);
  } catch {
    throw bad('an encryption context cannot be read');
  }
  const wrapped = Buffer.from(text, 'base64');
  if (wrapped.length === 0 || wrapped.toString('base64') !== text) throw bad('a wrap is base64');
  return { kek, context, wrapped };
}

function readKey(of) {
  const key = {
    id: keyIdOf(field(of, 'key_id', 'text')),
    purpose: field(of, 'purpose', 'text'),
    state: field(of, 'state', 'text'),
    version: field(of, 'version', 'integer'),
  };
  if (!PURPOSES.includes(key.purpose) || !STATES.includes(key.state)) throw bad('a purpose or state that is not known here');
  key.wraps = field(of, 'wraps', 'list').map(readWrap);
  if ((key.state === 'destroyed') === key.wraps.length > 0) throw bad('a data key is destroyed, or has wraps');
  return key;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw bad('it is no JSON');
  }
}

/**
 * Opens values of a table. `unwrappers` says how to unwrap, by the beginning of a KEK's URI, the longest that fits:
 * `{'aws-kms://': ask}`, with `ask(wrapped, context, kek)` that gives the 32 bytes, or a promise of them. A function may
 * throw what it likes; another KEK of the data key is tried then, and the first error is thrown if none works.
 */
export class Keyring {
  constructor(document, unwrappers = {}) {
    const of = typeof document === 'string' ? parsed(document) : document;
    if (field(of, 'format', 'text') !== FORMAT) throw bad('another format');
    this.table = `${field(of, 'schema', 'text')}.${field(of, 'table', 'text')}`;
    const rings = field(of, 'keyrings', 'list');
    this.keys = new Map();
    for (const key of rings.flatMap((ring) => field(ring, 'data_keys', 'list')).map(readKey)) {
      if (this.keys.has(key.id)) throw bad('two data keys have one id');
      this.keys.set(key.id, key);
    }
    if (rings.filter((ring) => field(ring, 'seals', 'flag')).length !== 1) throw bad('one keyring seals');
    this.unwrappers = new Map(Object.entries(unwrappers).sort(([a], [b]) => b.length - a.length));
    this.unwrapped = new Map();
  }

  unwrapper(kek) {
    return [...this.unwrappers].find(([beginning]) => kek.startsWith(beginning))?.[1];
  }

  /** The 32 bytes of a data key, unwrapped once and kept. States forbid nothing here: they are the database's. */
  async dataKey(id, purpose = 'seal') {
    const key = this.keys.get(id);
    if (key?.purpose !== purpose) throw new EnvelopeError('unknown_key', id);
    if (key.state === 'destroyed') throw new EnvelopeError('destroyed_key', id);
    if (!this.unwrapped.has(id)) this.unwrapped.set(id, await this.unwrap(key));
    return this.unwrapped.get(id);
  }

  async unwrap(key) {
    const errors = [];
    for (const { kek, context, wrapped } of key.wraps) {
      const ask = this.unwrapper(kek);
      if (!ask) continue;
      try {
        const found = keys.checked(await ask(wrapped, context, kek));
        if (keys.textOf(keys.keyId(found)) !== key.id) throw new EnvelopeError('other_data_key', key.id);
        return found;
      } catch (error) {
        errors.push(error);
      }
    }
    throw errors.length ? errors[0] : new EnvelopeError('no_kek', key.id);
  }

  /** The bytes that were sealed. */
  async open(sealed, context = '') {
    return openValue(await this.dataKey(namedKey(sealed)), sealed, context);
  }

  /** A value that was sealed with its type: see `decode`. */
  async openAs(type, sealed, context = '') {
    return decode(type, await this.open(sealed, context));
  }

  /** The data keys of search that are not destroyed, the active one first: their 32 bytes. */
  async indexKeys() {
    const found = [...this.keys.values()].filter((key) => key.purpose === 'index' && key.state !== 'destroyed');
    found.sort((a, b) => (b.state === 'active') - (a.state === 'active') || b.version - a.version);
    const all = [];
    for (const key of found) all.push(await this.dataKey(key.id, 'index'));
    return all;
  }
}
