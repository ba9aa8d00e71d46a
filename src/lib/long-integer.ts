/**
 * The digits of an integer in JSON that a double cannot hold, such as ids of 19 digits; undefined for all else. For revivers of
 * `JSON.parse`, which are given the text of a value as `context.source`.
 */
export function longIntegerOf(value: unknown, context: { source?: string } | undefined): string | undefined {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return undefined
  return context?.source !== undefined && /^-?\d+$/.test(context.source) ? context.source : undefined
}
