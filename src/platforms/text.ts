/** Scripts that need the zero-width joiner and non-joiner to be spelled correctly. */
const JOINING =
  '[\\p{Script=Arabic}\\p{Script=Devanagari}\\p{Script=Bengali}\\p{Script=Gurmukhi}\\p{Script=Gujarati}\\p{Script=Tamil}' +
  '\\p{Script=Telugu}\\p{Script=Kannada}\\p{Script=Malayalam}\\p{Script=Sinhala}\\p{Script=Myanmar}\\p{Script=Khmer}]\\p{M}*'

// Zero width space, word joiner, byte order mark, soft hyphen, grapheme joiner, vowel separator, the marks that turn the direction of
// writing, those of annotations, and the Hangul fillers that names are emptied with.
const INVISIBLE =
  /[\u034F\u00AD\u061C\u180E\u200B\u200E\u200F\u202A-\u202E\u2060-\u206F\u3164\uFEFF\uFFA0\uFFF9-\uFFFB]/gu
// A joiner stays where it means something: inside an emoji sequence (family, flag) and inside words of joining scripts.
const JOINER = new RegExp(
  `(?<!(?:\\p{Extended_Pictographic}\\uFE0F?|\\p{Emoji_Modifier}|${JOINING}))[\\u200C\\u200D]|` +
    `[\\u200C\\u200D](?!\\p{Extended_Pictographic}|${JOINING})`,
  'gu',
)
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is about; tab and line feed stay.
const CONTROL = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/g

/**
 * A text as people see it: Unicode NFC, without control characters, zero-width marks, direction marks and lone surrogates; line
 * breaks become `\n`, other white space one space; no white space at the ends; at most `lengthMax` UTF-16 units, cut at a
 * character.
 */
export function cleanText(text: string | null | undefined, lengthMax = 10_000): string {
  if (text === null || text === undefined || text === '') return ''
  const cleaned = text
    .replaceAll(/\p{Surrogate}/gu, '')
    .normalize('NFC')
    .replaceAll(/\r\n?|[\u2028\u2029\u0085]/g, '\n')
    .replaceAll(CONTROL, '')
    .replaceAll(INVISIBLE, '')
    .replaceAll(JOINER, '')
    .replaceAll(/[^\S\n]+/g, ' ')
    .replaceAll(/ ?\n ?/g, '\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim()
  return cleaned.length <= lengthMax ? cleaned : cutAtCharacter(cleaned, lengthMax)
}

/** The same on one line: for names and titles. */
export function cleanLine(text: string | null | undefined, lengthMax = 300): string {
  return cleanText(cleanText(text).replaceAll('\n', ' '), lengthMax)
}

function cutAtCharacter(text: string, lengthMax: number): string {
  const last = text.charCodeAt(lengthMax - 1)
  const splitsPair = last >= 0xd800 && last <= 0xdbff
  return text.slice(0, splitsPair ? lengthMax - 1 : lengthMax).trimEnd()
}
