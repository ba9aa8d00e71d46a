// Parts are bounded (RFC 5321: 64 before the @, 63 a label) and cannot match one another's separators, so time stays linear.
const EMAIL =
  /(?<![\w.+-])([a-z0-9_+-](?:[a-z0-9._+-]{0,62}[a-z0-9_+-])?)@((?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,24})(?![\w-]|\.[a-z])/i
const AT = /\s?[[({<]\s?at\s?[\])}>]\s?/gi
const DOT = /\s?[[({<]\s?dot\s?[\])}>]\s?/gi
/** "name at example dot com": only when both words stand there, because "at" alone is English. */
const SPELLED = /([a-z0-9._+-]{1,64}) at ([a-z0-9-]{1,63}) dot ([a-z]{2,24})\b/gi
/** Biographies are shorter everywhere. */
const TEXT_LENGTH_MAX = 10_000

/** The first e-mail address in a biography, lower-case, also when spelled `name (at) example (dot) com`; '' when there is none. */
export function emailIn(text: string): string {
  const plain = text
    .slice(0, TEXT_LENGTH_MAX)
    .replaceAll('＠', '@')
    .replaceAll(AT, '@')
    .replaceAll(DOT, '.')
    .replaceAll(SPELLED, '$1@$2.$3')
  const match = EMAIL.exec(plain)
  if (match === null) return ''
  const name = match[1]!
  return name.includes('..') ? '' : `${name}@${match[2]!}`.toLowerCase()
}
