// Names of types, and how their forms are filled to a block.

import { EnvelopeError } from './errors.js';

// Of each type that has a form: its block, 1 where there is none. That of numeric goes by its modifier.
const BLOCKS = new Map(Object.entries({
  bool: 5, int2: 6, int4: 11, int8: 20, numeric: 32, float4: 16, float8: 24, date: 13, time: 15, timetz: 24,
  timestamp: 29, timestamptz: 30, interval: 60, uuid: 36, inet: 44, cidr: 44, enum: 64,
  text: 1, varchar: 1, bpchar: 1, json: 1, jsonb: 1, bytea: 1,
}));
export const MARKED = new Set(['text', 'varchar', 'bpchar', 'json', 'jsonb']);
// As PostgreSQL shows them, in envelope.policies too.
const ALIASES = new Map(Object.entries({
  boolean: 'bool', smallint: 'int2', integer: 'int4', int: 'int4', bigint: 'int8', real: 'float4',
  'double precision': 'float8', decimal: 'numeric', 'character varying': 'varchar', character: 'bpchar', char: 'bpchar',
  'time without time zone': 'time', 'time with time zone': 'timetz',
  'timestamp without time zone': 'timestamp', 'timestamp with time zone': 'timestamptz',
}));
const NAME = /^([a-z0-9 ]+?)(?:\(([0-9]+)(?:,(-?[0-9]+))?\))?( with(?:out)? time zone)?((?:\[\])?)$/;

/**
 * `numeric(10,2)`, `timestamp(3) with time zone`, `integer[]`; the name `enum` stands for each enum. `name` is the short one
 * of the scalar, `isArray` says that it is an array of those.
 */
export class Type {
  constructor(text) {
    const found = NAME.exec(text);
    const name = found ? found[1] + (found[4] ?? '') : '';
    this.name = ALIASES.get(name) ?? name;
    if (!BLOCKS.has(this.name)) throw new EnvelopeError('unknown_type');
    this.isArray = found[5] !== '';
    this.precision = found[2] && Number(found[2]);
    this.scale = Number(found[3] ?? 0);
  }

  /** What the forms of the type are filled to if no policy says otherwise. */
  get block() {
    if (this.isArray) return 1;
    if (this.name !== 'numeric' || this.precision === undefined) return BLOCKS.get(this.name);
    return this.scale < 0 ? this.precision - this.scale + 1 : Math.max(this.precision, this.scale) + 3;
  }
}

export const asType = (type) => (type instanceof Type ? type : new Type(type));

function without(bytes, last) {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === last) end -= 1;
  return bytes.subarray(0, end);
}

/** A form without what fills it to a block. Values that were not filled stay as they are. */
export function unfilled(kind, plaintext) {
  const type = asType(kind);
  const bytes = Buffer.from(plaintext);
  if (type.isArray || !(MARKED.has(type.name) || type.name === 'bytea')) return without(bytes, 0x20);
  if (type.name === 'bytea') return bytes;
  const zerosOff = without(bytes, 0);
  return zerosOff.at(-1) === 0xff ? zerosOff.subarray(0, -1) : bytes;
}

/** A form as it is sealed: for checks that values of a column do not tell by their lengths. */
export function filled(kind, form, wanted) {
  const type = asType(kind);
  const block = wanted ?? type.block;
  const bytes = Buffer.from(form);
  if (block <= 1 || type.isArray || type.name === 'bytea') return bytes;
  const isMarked = MARKED.has(type.name);
  const length = Math.max(Math.ceil((bytes.length + (isMarked ? 1 : 0)) / block), 1) * block;
  const out = Buffer.alloc(length, isMarked ? 0 : 0x20);
  bytes.copy(out);
  if (isMarked) out[bytes.length] = 0xff;
  return out;
}
