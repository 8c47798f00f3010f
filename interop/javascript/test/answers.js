// Answers the questions of the conformance vectors: JSON lines in, JSON lines out. Bytes are hex, 64-bit numbers text.

import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import * as reader from '../src/index.js';

const raw = (hex) => Buffer.from(hex, 'hex');
const hex = (bytes) => Buffer.from(bytes).toString('hex');

/** What a caller's own function throws. */
class Refused extends Error {}

/** What `decode` gave: bytes as text, like in arrays. */
function shown(value) {
  if (Array.isArray(value)) return value.map(shown);
  return value instanceof Uint8Array ? `\\x${hex(value)}` : value;
}

/** In any order. */
const hexes = (found) => found && found.map(hex).sort();

/** A key file, a token's key, or a KMS that answers to what it knows. */
function unwrapper(how) {
  if (how.file) return (wrapped, context) => reader.unwrapByFile(raw(how.file), wrapped, context);
  if (how.token) return (wrapped, context) => reader.unwrapByTokenKey(raw(how.token), wrapped, context);
  return async (wrapped, context) => {
    const found = how.answers[`${hex(wrapped)} ${reader.contextJson(context)}`];
    if (!found) throw new Refused();
    return raw(found);
  };
}

function keyring({ document, unwrappers }) {
  const functions = Object.entries(unwrappers).map(([kek, how]) => [kek, unwrapper(how)]);
  return new reader.Keyring(document, Object.fromEntries(functions));
}

const boundaries = (rule, set) => (set == null ? undefined : new reader.Boundaries(rule, set));
const bytes = (text) => (text === null ? null : Buffer.from(text));
const indexKey = (dataKey) => new reader.IndexKey(raw(dataKey));

const ANSWERS = {
  key_id: ({ data_key }) => reader.idText(reader.keyId(raw(data_key))),
  kek_id: ({ kek }) => reader.idText(reader.kekId(raw(kek))),
  named_key: ({ sealed }) => reader.namedKey(raw(sealed)),
  open_value: ({ data_key, sealed, context }) => hex(reader.openValue(raw(data_key), raw(sealed), context)),
  open_as: ({ data_key, sealed, context, type }) => shown(reader.decode(type, reader.openValue(raw(data_key), raw(sealed), context))),
  decode: ({ type, plaintext }) => shown(reader.decode(type, raw(plaintext))),
  decode_text: ({ plaintext }) => reader.decodeText(raw(plaintext)),
  filled: ({ type, form, block }) => hex(reader.filled(type, raw(form), block)),
  row_context: ({ tag, parts }) => reader.rowContext(tag, ...parts),
  context_json: ({ context }) => reader.contextJson(context),
  context_bytes: ({ context }) => hex(reader.contextBytes(context)),
  context_transit: ({ context }) => reader.contextTransit(context),
  unwrap_by_file: ({ kek, wrapped, context }) => hex(reader.unwrapByFile(raw(kek), raw(wrapped), context)),
  unwrap_by_token_key: ({ kek, wrapped, context }) => hex(reader.unwrapByTokenKey(raw(kek), raw(wrapped), context)),
  token_associated_data: ({ context }) => reader.tokenAssociatedData(context).toString(),
  keyring_open: async ({ sealed, context, ...of }) => hex(await keyring(of).open(raw(sealed), context)),
  keyring_index_keys: async (of) => (await keyring(of).indexKeys()).map(hex),
  normal_form: ({ form, text, is_piece }) => reader.normalForm(form, text, is_piece),
  ordinal: ({ type, form, scale }) => String(reader.ordinal(new reader.Type(type).name, Buffer.from(form), scale)),
  payloads: ({ rule, type, plaintext, set }) => hexes(reader.payloads(rule, type, raw(plaintext), boundaries(rule, set))),
  asked: ({ rule, op, text }) => hexes(reader.asked(rule, op, text)),
  asked_between: ({ rule, type, low, high, set }) =>
    hexes(reader.askedBetween(rule, type, bytes(low), bytes(high), boundaries(rule, set))),
  term: ({ data_key, label, rule, payload, n }) => hex(indexKey(data_key).term(label, rule, raw(payload), n)),
  marker: ({ data_key }) => String(indexKey(data_key).marker),
  tokens: ({ data_key, label, rule, payloads }) => indexKey(data_key).tokens(label, rule, payloads.map(raw)).map(String),
  stored: ({ data_key, label, rule, payloads }) => indexKey(data_key).stored(label, rule, payloads.map(raw)).map(String),
  open_boundaries: ({ data_key, label, rule, sealed }) => reader.openBoundaries(raw(data_key), label, rule, raw(sealed)),
};

export async function answer(question) {
  try {
    return { gives: await ANSWERS[question.do](question.with) };
  } catch (error) {
    if (error instanceof reader.EnvelopeError) return { fails: error.name };
    if (error instanceof Refused) return { fails: 'refused' };
    throw error;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
}
