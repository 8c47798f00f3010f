// What counts of a value under a rule, and what a question asks for.

import { EnvelopeError } from './errors.js';
import { textOf } from './forms.js';
import { isControl, isOfWords, isWhite, normalForm } from './normal.js';
import { ordinal, indexForm, SUBJECTS, WITHOUT } from './ordinals.js';
import { DAY, HALF, Rule } from './rules.js';
import { MARKED, Type, unfilled } from './types.js';

const MOST_STEPS = 10_000n;
const [BEGIN, END] = ['\x02', '\x03'];
// Values of a type that are no numbers, in PostgreSQL's order; numbers come before those from `infinity` on.
const RANKS = { '-infinity': 0, infinity: 2, NaN: 3 };
const NAMED = { int: [], time: [], float: Object.keys(RANKS), numeric: Object.keys(RANKS) };
const OPS = {
  exact: ['='], words: ['=', 'words'], prefix: ['=', 'prefix'], suffix: ['=', 'suffix'],
  parts: ['=', 'contains', 'prefix', 'suffix'],
};

const outside = (name) => Buffer.concat([Buffer.from([0xff]), Buffer.from(name)]);

function node(height, at) {
  const out = Buffer.alloc(9);
  out[0] = Number(height);
  out.writeBigUInt64BE(at, 1);
  return out;
}

function step(at) {
  const out = Buffer.alloc(8);
  out.writeBigInt64BE(at);
  return out;
}

/** Rounded down. */
const divided = (number, by) => (number - (((number % by) + by) % by)) / by;

const once = (payloads) => [...new Map(payloads.map((payload) => [payload.toString('hex'), payload])).values()];

function wordsOf(text) {
  const cut = Array.from(text, (c) => (isOfWords(c) ? c : '\0')).join('');
  return cut.split('\0').filter(Boolean).map((word) => Buffer.from(word));
}

function spaced(text) {
  const blanks = Array.from(text, (c) => (isWhite(c) ? ' ' : isControl(c) ? '' : c)).join('');
  return blanks.replace(/ +/g, ' ').replace(/^ | $/g, '');
}

function pieces(text, k) {
  const all = Array.from(text);
  return all.slice(0, Math.max(all.length - k + 1, 0)).map((_, at) => Buffer.from(all.slice(at, at + k).join('')));
}

/** The first or last k characters; undefined of a text with fewer. */
function end(rule, text) {
  const [all, k] = [Array.from(text), Number(rule.numbers[0])];
  if (all.length < k) return undefined;
  return Buffer.from((rule.kind === 'prefix' ? all.slice(0, k) : all.slice(-k)).join(''));
}

function ofText(rule, text) {
  const found = normalForm(rule.subject, text);
  if (rule.kind === 'exact') return [Buffer.from(found)];
  if (rule.kind === 'words') return wordsOf(found);
  if (rule.kind === 'parts') return pieces(BEGIN + spaced(found) + END, Number(rule.numbers[0]));
  const one = end(rule, found);
  return one ? [one] : null;
}

function ofOrdinal(rule, at, boundaries) {
  if (typeof at === 'string') return [outside(at)];
  if (rule.kind === 'buckets') {
    if (!boundaries) throw new EnvelopeError('no_boundaries');
    return boundaries.classesOf(at).map((one) => boundaries.payload(one));
  }
  if (rule.kind !== 'tree') return [step(divided(at - HALF, rule.width))];
  const [, , bits, low] = rule.numbers;
  if (at < low) return [outside('below')];
  if (at - low >= 1n << bits) return [outside('above')];
  return rule.heights.map((height) => node(height, (at - low) >> height));
}

/**
 * Of a value of a type, as it is opened (of text: its UTF-8). Each once; null where the value has no term. Under `buckets`
 * those of all classes of the value, of which its row has one.
 */
export function payloads(ruleText, kind, plaintext, boundaries) {
  const [rule, type] = [new Rule(ruleText), new Type(kind)];
  const form = unfilled(type, plaintext);
  const isText = MARKED.has(type.name) && !WITHOUT.includes(type.name);
  if (type.isArray) throw new EnvelopeError('no_form');
  if (isText && rule.isOfText) {
    const found = ofText(rule, textOf(form));
    return found && once(found);
  }
  if (rule.text === 'exact/1') return [type.name === 'bytea' ? form : Buffer.from(indexForm(type.name, form))];
  if (rule.isOfText || SUBJECTS.get(type.name) !== rule.subject) throw new EnvelopeError('no_form');
  return once(ofOrdinal(rule, ordinal(type.name, form, rule.scale), boundaries));
}

/** Of text: `=`, `prefix`, `suffix`, `contains` or `words`. A value that is found has all of these payloads. */
export function asked(ruleText, op, text) {
  const rule = new Rule(ruleText);
  if (!rule.isOfText) throw new EnvelopeError('no_answer');
  const found = normalForm(rule.subject, text, op !== '=');
  if (!OPS[rule.kind].includes(op)) throw new EnvelopeError('no_answer');
  const tooShort = new EnvelopeError('too_short');
  if (rule.kind === 'exact') return [Buffer.from(found)];
  if (rule.kind === 'words') {
    const all = wordsOf(found);
    if (op === '=' && all.length === 0) throw tooShort;
    return once(all);
  }
  if (rule.kind === 'parts') {
    const [bare, k] = [spaced(found), Number(rule.numbers[0])];
    const whole = (['=', 'prefix'].includes(op) ? BEGIN : '') + bare + (['=', 'suffix'].includes(op) ? END : '');
    const all = bare === '' ? [] : pieces(whole, k);
    if (all.length === 0) throw tooShort;
    return once(all);
  }
  const one = end(rule, found);
  if (!one) throw tooShort;
  return [one];
}

/** The fewest nodes that hold the numbers from low to high, counted from the tree's low end. */
function cover(rule, low, high) {
  const { heights } = rule;
  const fromAbove = (level, at) => {
    const [first, last] = [at << heights[level], ((at + 1n) << heights[level]) - 1n];
    if (last < low || first > high) return [];
    if (low <= first && last <= high) return [node(heights[level], at)];
    const count = 1n << (heights[level] - heights[level - 1]);
    const children = Array.from({ length: Number(count) }, (_, child) => at * count + BigInt(child));
    return children.flatMap((child) => fromAbove(level - 1, child));
  };
  const top = heights.length - 1;
  const count = Number((high >> heights[top]) - (low >> heights[top])) + 1;
  return Array.from({ length: count }, (_, at) => fromAbove(top, (low >> heights[top]) + BigInt(at))).flat();
}

function ofNumbers(rule, low, high, boundaries) {
  if (rule.kind === 'buckets') {
    if (!boundaries) throw new EnvelopeError('no_boundaries');
    return boundaries.asked(low, high).map((one) => boundaries.payload(one));
  }
  if (rule.kind !== 'tree') {
    const [first, last] = [divided(low - HALF, rule.width), divided(high - HALF, rule.width)];
    if (last - first >= MOST_STEPS) throw new EnvelopeError('too_wide');
    return Array.from({ length: Number(last - first) + 1 }, (_, at) => step(first + BigInt(at)));
  }
  const [, , bits, start] = rule.numbers;
  const last = start + (1n << bits) - 1n;
  const [from, to] = [low > start ? low : start, high < last ? high : last];
  const inside = from <= to ? cover(rule, from - start, to - start) : [];
  return [...(low < start ? [outside('below')] : []), ...inside, ...(high > last ? [outside('above')] : [])];
}

/** From one form to another (bytes), both within; null has no end. A value of the range has one of these payloads. */
export function askedBetween(ruleText, kind, low, high, boundaries) {
  const [rule, type] = [new Rule(ruleText), new Type(kind)];
  if (rule.isOfText || type.isArray) throw new EnvelopeError('no_answer');
  const [from, to] = [low, high].map((form) => {
    if (form === null) return null;
    if (SUBJECTS.get(type.name) !== rule.subject) throw new EnvelopeError('no_form');
    return ordinal(type.name, unfilled(type, form), rule.scale);
  });
  const [first, last] = rule.subject === 'time' ? [HALF, HALF + DAY] : [0n, 2n * HALF - 1n];
  const [least, most] = [from === null ? -1 : RANKS[from] ?? 1, to === null ? 4 : RANKS[to] ?? 1];
  const [start, stop] = [typeof from === 'bigint' ? from : first, typeof to === 'bigint' ? to : last];
  const hasNumbers = least <= 1 && most >= 1 && start <= stop;
  const found = hasNumbers ? ofNumbers(rule, start, stop, boundaries) : [];
  const names = NAMED[rule.subject] ?? ['-infinity', 'infinity'];
  return [...found, ...names.filter((name) => least <= RANKS[name] && RANKS[name] <= most).map(outside)];
}
