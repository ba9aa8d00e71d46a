/** Words and letters that multiply, as platforms and people write them, lower-case and without a full stop. */
const MULTIPLIERS: ReadonlyMap<string, number> = new Map([
  ...entries(1e3, 'k tsd tausend mil тыс 천 千'),
  ...entries(1e4, '万 萬 만'),
  ...entries(1e5, 'lakh'),
  ...entries(1e6, 'm mio mln mill mi million millions млн'),
  ...entries(1e7, 'crore'),
  ...entries(1e8, '億 亿 억'),
  ...entries(1e9, 'b bn mrd md млрд billion billions'),
])

function entries(factor: number, words: string): [string, number][] {
  return words.split(' ').map((word) => [word, factor])
}

// Digits with separators, then perhaps one word. Bounded, so that a long text costs nothing.
const SHAPE = /^(\d[\d.,]{0,30})(\p{L}{1,10})?\.?$/u
const SPACES = /[\s\u00A0\u202F'’_]/gu

/**
 * A count as people write it: "1.5M", "500K", "1,234", "2,5 Mio.", "12'345", "1 234 567", "3.2万" → a whole number. Undefined when
 * it is none. With a multiplier a single separator is the decimal one ("1.234M" is 1,234,000). Without one, a separator is
 * accepted only in front of groups of three digits, since a count is whole: "1.234" is 1,234, and "1.5" is no count.
 */
export function parseCount(input: string | number | null | undefined): number | undefined {
  if (typeof input === 'number') return Number.isFinite(input) && input >= 0 ? Math.round(input) : undefined
  if (typeof input !== 'string' || input.length > 60) return undefined
  const match = SHAPE.exec(input.trim().replaceAll(SPACES, '').replace(/^\+/, '').toLowerCase())
  if (match === null) return undefined
  const digits = match[1]!
  const word = match[2]
  const factor = word === undefined ? 1 : MULTIPLIERS.get(word)
  if (factor === undefined) return undefined
  const value = factor === 1 ? wholeNumber(digits) : decimalNumber(digits)
  if (value === undefined) return undefined
  const count = Math.round(value * factor)
  return Number.isSafeInteger(count) ? count : undefined
}

function wholeNumber(digits: string): number | undefined {
  if (/^\d+$/.test(digits)) return Number(digits)
  const grouped = /^\d{1,3}(?:,\d{3})+$|^\d{1,3}(?:\.\d{3})+$|^\d{1,2}(?:,\d{2})*,\d{3}$/.test(digits)
  return grouped ? Number(digits.replaceAll(/[.,]/g, '')) : undefined
}

function decimalNumber(digits: string): number | undefined {
  const separators = digits.replaceAll(/\d/g, '')
  if (separators.length <= 1) return /\d$/.test(digits) ? Number(digits.replace(',', '.')) : undefined
  // Two kinds: the last one is the decimal one, e.g. 1,234.5M. One kind, repeated: they group.
  const last = separators.at(-1)!
  const mixed = separators.includes(last === ',' ? '.' : ',')
  if (!mixed) return wholeNumber(digits)
  const at = digits.lastIndexOf(last)
  const whole = wholeNumber(digits.slice(0, at))
  const fraction = digits.slice(at + 1)
  return whole === undefined || !/^\d+$/.test(fraction) ? undefined : Number(`${whole}.${fraction}`)
}
