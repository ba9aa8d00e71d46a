/**
 * Text from elsewhere, fit for a terminal: control characters (escape sequences move cursors and rename windows), and those that
 * turn the direction of writing, are shown as `\u{1b}`. Line feeds and tabs stay with `multiline`.
 */
export function printable(text: string, { multiline = false }: { multiline?: boolean } = {}): string {
  return text.replaceAll(UNFIT, (character) =>
    multiline && (character === '\n' || character === '\t')
      ? character
      : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  )
}

const UNFIT = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/** The beginning of a text, with `…` when that is not all of it. */
export function cutText(text: string, lengthMax: number): string {
  return text.length > lengthMax ? `${text.slice(0, Math.max(0, lengthMax - 1))}…` : text
}
