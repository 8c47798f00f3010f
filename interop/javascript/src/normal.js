// Normal forms of text, version 1, by Unicode 15.1.0. Its tables are in unicode.json. How characters are composed is taken
// from the language: what 15.1.0 assigns never changes.

import { readFileSync } from 'node:fs';
import { utf8 } from './context.js';
import { EnvelopeError } from './errors.js';

const TABLES = JSON.parse(readFileSync(new URL('unicode.json', import.meta.url), 'utf8'));
const FOLDING = new Map(Object.entries(TABLES.folding));

/** How many of the ascending numbers are not above it. */
function countUpTo(numbers, number) {
  let [low, high] = [0, numbers.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Where runs begin and where they have ended stands in turns. */
const has = (table) => (c) => countUpTo(TABLES[table], c.codePointAt(0)) % 2 === 1;

const isAssigned = has('assigned');
const isIgnorable = has('ignorable');
export const isWhite = has('white');
export const isOfWords = has('words');
export const isControl = (c) => c <= '\x1f' || (c >= '\x7f' && c <= '\x9f');

/** `0` to `9` for a decimal digit of any script, empty for others. */
function decimal(c) {
  const code = c.codePointAt(0);
  const value = code - TABLES.zeros[countUpTo(TABLES.zeros, code) - 1];
  return value <= 9 ? String(value) : '';
}

/** Of each run of characters that 15.1.0 knows; each other one stands as it is. */
function byRuns(text, ofRun) {
  let [out, run] = ['', ''];
  for (const c of text) {
    if (isAssigned(c) || isIgnorable(c)) {
      run += c;
    } else {
      out += ofRun(run) + c;
      run = '';
    }
  }
  return out + ofRun(run);
}

const folded = (text) => Array.from(text, (c) => FOLDING.get(c) ?? c).join('');
const kept = (text, keeps) => Array.from(text).filter(keeps).join('');
const withoutIgnorable = (text) => kept(text, (c) => !isIgnorable(c));

function casefoldRun(run) {
  const once = folded(withoutIgnorable(run).normalize('NFD')).normalize('NFKC');
  return folded(withoutIgnorable(once)).normalize('NFKC');
}

const casefold = (text) => byRuns(text, casefoldRun);

function left(text) {
  if (text === '') throw new EnvelopeError('empty');
  return text;
}

function trimmed(text) {
  const all = Array.from(text);
  const [first, last] = [all.findIndex((c) => !isWhite(c)), all.findLastIndex((c) => !isWhite(c))];
  return first < 0 ? '' : all.slice(first, last + 1).join('');
}

function email(text) {
  const whole = casefold(trimmed(text));
  const at = whole.lastIndexOf('@');
  const [name, domain] = [whole.slice(0, Math.max(at, 0)), whole.slice(at + 1).replace(/\.$/, '')];
  if (!name || !domain || Array.from(name + domain).some((c) => isWhite(c) || isControl(c))) throw new EnvelopeError('no_address');
  return `${name}@${domain}`;
}

const FORMS = {
  exact: (text) => text,
  nfc: (text) => byRuns(text, (run) => run.normalize('NFC')),
  casefold,
  digits: (text) => left(Array.from(text, decimal).join('')),
  alnum: (text) => left(Array.from(kept(casefold(text), isOfWords), (c) => decimal(c) || c).join('')),
  email,
};

export const isForm = (name) => Object.hasOwn(FORMS, name);

/** Of a value; or of a piece of one, which a query looks for and which is no whole address. */
export function normalForm(form, text, isPiece = false) {
  if (!isForm(form)) throw new EnvelopeError('unknown_rule');
  if (text.includes('\0')) throw new EnvelopeError('not_text');
  utf8(text);
  const [major, minor] = process.versions.unicode.split('.').map(Number);
  if (major < 15 || (major === 15 && minor < 1)) throw new Error('search needs a Node.js that knows Unicode 15.1');
  return FORMS[isPiece && form === 'email' ? 'casefold' : form](text);
}
