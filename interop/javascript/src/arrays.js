// Arrays: JSON of nested arrays, whose elements are strings or null, with one text for each.

import { isUtf8 } from 'node:buffer';
import { quoted } from './context.js';

const DEPTH = 6;
// Over bytes, each as one character.
const STRING = /"((?:[^"\\\x00-\x1f]|\\(?:["\\bfnrt]|u00[01][0-9a-f]))*)"/y;
const PLAIN = { '"': '"', '\\': '\\', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };
const ESCAPE = /\\(u00..|.)/g;

const codeOf = (escape) => parseInt(escape.slice(1), 16);

function unescaped(raw) {
  return Buffer.from(raw.replace(ESCAPE, (_, escape) => PLAIN[escape] ?? String.fromCharCode(codeOf(escape))), 'latin1');
}

/** `\n` has a short escape and `\u000a` is another text for it. */
function isShortest(raw) {
  return [...raw.matchAll(ESCAPE)].every(([, escape]) => escape.length === 1 || quoted(String.fromCharCode(codeOf(escape))).length === 8);
}

/** Nested arrays of bytes and null; undefined if it is no form. The sizes of all arrays at one depth are the same. */
export function elements(form) {
  if (!isUtf8(form)) return undefined;
  const text = form.toString('latin1');
  if (text === '[]') return [];
  const stack = [];
  const sizes = [];
  let [at, leaf] = [0, 0];
  for (;;) {
    if (text[at] === '[') {
      if (stack.length === DEPTH || (leaf && stack.length >= leaf)) return undefined;
      stack.push([]);
      at += 1;
      continue;
    }
    // An element, which stands at one depth everywhere.
    if (stack.length === 0 || (leaf && leaf !== stack.length)) return undefined;
    leaf = stack.length;
    if (text.startsWith('null', at)) {
      stack.at(-1).push(null);
      at += 4;
    } else {
      STRING.lastIndex = at;
      const found = STRING.exec(text);
      if (!found || !isShortest(found[1])) return undefined;
      stack.at(-1).push(unescaped(found[1]));
      at += found[0].length;
    }
    while (text[at] === ']') {
      const done = stack.pop();
      sizes[stack.length] ??= done.length;
      if (sizes[stack.length] !== done.length) return undefined;
      at += 1;
      if (stack.length === 0) return at === text.length ? done : undefined;
      stack.at(-1).push(done);
    }
    if (text[at] !== ',') return undefined;
    at += 1;
  }
}

export function each(of, read) {
  return of.map((one) => (Array.isArray(one) ? each(one, read) : one && read(one)));
}
