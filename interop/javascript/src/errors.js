// What can go wrong. Each kind has a name, which is the same in every reader and in the vectors.

export const NAMES = {
  not_sealed: 'these bytes are no sealed value',
  other_key: 'the value was sealed under another data key',
  does_not_open: 'the bytes were changed, or the context is another',
  long_iv: 'an IV of more than 128 bytes: let the token open it',
  wrong_length: 'a key has 32 bytes',
  not_a_wrap: 'these bytes are no wrapped key',
  other_kek: 'the data key was wrapped by another KEK',
  other_data_key: 'what was unwrapped is another data key than the keyring says',
  bad_context: 'an encryption context is an object of strings, of at most 8,192 bytes',
  not_a_keyring: 'this is no exported keyring',
  unknown_key: 'the keyring has no such data key',
  destroyed_key: 'the data key was destroyed',
  no_kek: "no function was given that unwraps by one of the data key's KEKs",
  unknown_type: 'a type of this name has no canonical form',
  no_form: 'the bytes are not the canonical form of a value of this type',
  not_text: 'the bytes are not UTF-8, or have a zero in them',
  unknown_rule: 'this is no rule of a search index',
  bad_term: 'the hash in a term has 1 to 32 bytes',
  empty: 'nothing of the text is left by its normal form',
  no_address: 'the text is no e-mail address',
  too_short: 'the text is shorter than what the index has terms of',
  too_wide: 'the range has more steps than are asked for at once',
  no_answer: 'an index of this rule does not answer this question',
  no_boundaries: 'the rule needs its boundary set',
  not_a_boundary_set: 'this is no boundary set of this rule',
};

/** `name` is one of NAMES; no value and no key is ever in the message. */
export class EnvelopeError extends Error {
  constructor(name, more = '') {
    super(`${name}: ${NAMES[name]}${more && ` (${more})`}`);
    this.name = name;
  }
}
