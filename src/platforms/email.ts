// Parts are bounded (RFC 5321: 64 before the @, 63 a label) and cannot match one another's separators, so time stays linear.
// A letter of another alphabet belongs to the word: what is left of it would be somebody else's address.
const EMAIL =
  /(?<![\p{L}\p{M}\p{N}_.+-])([a-z0-9_+-](?:[a-z0-9._+-]{0,62}[a-z0-9_+-])?)@((?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,24})(?![\p{L}\p{M}\p{N}_-]|\.[\p{L}\p{N}])/giu
const AT = /\s?[[({<]\s?at\s?[\])}>]\s?/gi
const DOT = /\s?[[({<]\s?dot\s?[\])}>]\s?/gi
/** Biographies are shorter everywhere. */
const TEXT_LENGTH_MAX = 10_000

/**
 * The first e-mail address in a biography, lower-case, also when spelled `name (at) example (dot) com`; '' when there is none.
 * Without the brackets those are words ("find us at example dot com"): nothing is made of them.
 */
export function emailIn(text: string): string {
  const plain = text.slice(0, TEXT_LENGTH_MAX).replaceAll('＠', '@').replaceAll(AT, '@').replaceAll(DOT, '.')
  for (const [address, name] of plain.matchAll(EMAIL)) {
    if (!name!.includes('..')) return address.toLowerCase()
  }
  return ''
}
