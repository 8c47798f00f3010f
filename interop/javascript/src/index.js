// Opens values of the PostgreSQL extension `envelope` outside PostgreSQL: format envelope/1.

export { Boundaries, openBoundaries } from './boundaries.js';
export { contextBytes, contextJson, contextTransit, rowContext } from './context.js';
export { EnvelopeError, NAMES } from './errors.js';
export { decode, decodeText } from './forms.js';
export { Keyring } from './keyring.js';
export { kekId, keyId, textOf as idText } from './keys.js';
export { normalForm } from './normal.js';
export { ordinal } from './ordinals.js';
export { asked, askedBetween, payloads } from './payloads.js';
export { IndexKey } from './terms.js';
export { filled, Type, unfilled } from './types.js';
export { isSealed, namedKey, openValue } from './values.js';
export { tokenAssociatedData, tokenWrap, unwrapByFile, unwrapByTokenKey } from './wraps.js';
