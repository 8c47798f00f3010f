// Rules of search indexes: their text, and no other text for the same.

import { EnvelopeError } from './errors.js';
import { isForm } from './normal.js';

export const HALF = 1n << 63n;
export const ALL = 1n << 64n;
export const DAY = 86_400_000_000n;
const SECOND = 1_000_000n;
const NUMBER = '(?:0|[1-9][0-9]*)';
const KINDS = 'prefix|suffix|words|parts|days|steps|buckets|tree';
const RULE = new RegExp(`^(?:(${KINDS})(?:\\((${NUMBER}(?:,${NUMBER})*)\\))? )?([a-z]+)(?:\\((-?${NUMBER})\\))?/1$`);
const ORDERED = ['int', 'float', 'numeric', 'date', 'time', 'timestamp', 'timestamptz'];
const OF_TEXT = ['exact', 'prefix', 'suffix', 'words', 'parts'];
const COUNTS = { prefix: 1, suffix: 1, parts: 1, steps: 1, tree: 4 };
const LIMITS = { prefix: [1n, 255n], suffix: [1n, 255n], parts: [2n, 8n] };
const LARGEST_SCALE = 1000n;

/** `kind`, its `numbers` (BigInt), `subject` (a normal form, or a type), the `scale` (BigInt) of a numeric. */
export class Rule {
  constructor(text) {
    const found = typeof text === 'string' ? RULE.exec(text) : null;
    if (!found) throw new EnvelopeError('unknown_rule');
    this.text = text;
    this.kind = found[1] ?? 'exact';
    this.numbers = found[2]?.split(',').map(BigInt) ?? [];
    this.subject = found[3];
    this.scale = found[4] === undefined ? undefined : BigInt(found[4]);
    if (found[4] === '-0' || !this.isRight()) throw new EnvelopeError('unknown_rule');
  }

  get isOfText() {
    return OF_TEXT.includes(this.kind);
  }

  isRight() {
    const { kind, numbers, subject, scale } = this;
    if (numbers.length !== (COUNTS[kind] ?? 0) || (scale !== undefined) !== (subject === 'numeric')) return false;
    if (this.isOfText) {
      const [least, most] = LIMITS[kind] ?? [];
      return isForm(subject) && (!LIMITS[kind] || (numbers[0] >= least && numbers[0] <= most));
    }
    if (!ORDERED.includes(subject) || (scale ?? 0n) > LARGEST_SCALE || (scale ?? 0n) < -LARGEST_SCALE) return false;
    if (kind === 'days') return ['date', 'timestamp', 'timestamptz'].includes(subject);
    if (kind === 'steps') {
      const isWhole = (scale ?? 0n) >= 0n && (scale ?? 0n) <= 18n;
      return subject !== 'float' && isWhole && this.width > 0n && this.width < HALF;
    }
    if (kind !== 'tree') return true;
    const [sparsity, trim, bits, low] = numbers;
    const isSized = sparsity >= 1n && sparsity <= 8n && trim <= 12n && trim < bits && bits <= 64n;
    return isSized && low + (1n << bits) <= ALL;
  }

  /** Bytes of the hash in a term, unless an index says otherwise; in a token. */
  get n() {
    return ['exact', 'prefix', 'suffix'].includes(this.kind) ? 16 : 8;
  }

  /** Of a day or step, in units of the ordinal. */
  get width() {
    if (this.kind === 'days') return this.subject === 'date' ? 1n : DAY;
    const units = { int: 1n, date: 1n, numeric: 10n ** (this.scale ?? 0n) };
    return this.numbers[0] * (units[this.subject] ?? SECOND);
  }

  get heights() {
    const [sparsity, trim, bits] = this.numbers;
    return Array.from({ length: Number((bits - trim) / sparsity) + 1 }, (_, at) => BigInt(at) * sparsity);
  }
}
