// Addresses of inet and cidr: their bytes and bits, or undefined if the text is no form.

function v4(text) {
  const parts = text.split('.');
  const isByte = (part) => /^(0|[1-9][0-9]{0,2})$/.test(part) && Number(part) < 256;
  return parts.length === 4 && parts.every(isByte) ? parts.map(Number) : undefined;
}

/**
 * Groups in lower-case hex; the longest run of two zeros or more is `::`, the first of equals. IPv4 at the end is written as
 * such behind 96 bits of zeros, if it does not begin with 16 bits of zeros itself, and behind 80 bits of zeros and `ffff`.
 */
function v6Text(bytes) {
  const groups = Array.from({ length: 8 }, (_, at) => bytes[2 * at] * 256 + bytes[2 * at + 1]);
  let [best, length] = [-1, 1];
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (end < 8 && groups[end] === 0) end += 1;
    if (end - at > length) [best, length] = [at, end - at];
    at = end;
  }
  const hasV4 = best === 0 && (length === 6 || (length === 5 && groups[5] === 0xffff));
  const shown = groups.map((group) => group.toString(16));
  if (hasV4) shown.splice(6, 2, bytes.slice(12).join('.'));
  return best < 0 ? shown.join(':') : `${shown.slice(0, best).join(':')}::${shown.slice(best + length).join(':')}`;
}

/** Any spelling. */
function v6(text) {
  let spelt = text;
  if (text.includes('.')) {
    const at = text.lastIndexOf(':');
    const four = v4(text.slice(at + 1));
    if (!four) return undefined;
    spelt = `${text.slice(0, at)}:${(four[0] * 256 + four[1]).toString(16)}:${(four[2] * 256 + four[3]).toString(16)}`;
  }
  const halves = spelt.split('::').map((half) => (half ? half.split(':') : []));
  const missing = 8 - halves.flat().length;
  if (halves.length > 2 || !halves.flat().every((group) => /^[0-9a-f]{1,4}$/.test(group))) return undefined;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...halves[0], ...Array(missing).fill('0'), ...(halves[1] ?? [])].map((group) => parseInt(group, 16));
  return groups.flatMap((group) => [group >> 8, group & 255]);
}

export function address(text) {
  const at = text.lastIndexOf('/');
  const [shown, bits] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  const bytes = shown.includes(':') ? v6(shown) : v4(shown);
  if (at < 0 || !bytes || !/^(0|[1-9][0-9]{0,2})$/.test(bits) || Number(bits) > 8 * bytes.length) return undefined;
  return bytes.length === 16 && v6Text(bytes) !== shown ? undefined : { bytes, bits: Number(bits) };
}

/** An address that has nothing behind its bits. */
export function network(text) {
  const found = address(text);
  const isBehind = (at) => at >= (found?.bits ?? 0);
  const isSet = (at) => (found.bytes[at >> 3] >> (7 - (at & 7))) & 1;
  const all = found ? Array.from({ length: 8 * found.bytes.length }, (_, at) => at) : [];
  return all.some((at) => isBehind(at) && isSet(at)) ? undefined : found;
}
