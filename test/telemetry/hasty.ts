const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }

/** How much faster than in the rules, and between how many seconds a window then stays. */
export interface Haste {
  readonly times: number
  readonly windowMinS: number
  readonly windowMaxS: number
  /** Text of a duration: how long a rule has to hold. */
  readonly patience: string
}

/** Windows of a few scrapes, for tests; longer than a scraper may stand still. */
export const HASTE: Haste = { times: 600, windowMinS: 10, windowMaxS: 16, patience: '500ms' }

/** The real rules with shorter windows, and less patience. All else, thresholds above all, stays as it is. */
export function hasty(rules: string, { times, windowMinS, windowMaxS, patience }: Haste = HASTE): string {
  const shorter = (text: string) => {
    const [, count = '0', unit = 's'] = /^(\d+)([smhd])$/.exec(text) ?? []
    const seconds = (Number(count) * (SECONDS[unit] ?? 1)) / times
    return `${Math.round(1000 * Math.min(windowMaxS, Math.max(windowMinS, seconds)))}ms`
  }
  return rules
    .replaceAll(/\[(\d+[smhd])\]/g, (_, text: string) => `[${shorter(text)}]`)
    .replaceAll(/offset (\d+[smhd])/g, (_, text: string) => `offset ${shorter(text)}`)
    .replaceAll(/^ +interval: .*\n/gm, '')
    .replaceAll(/for: \d+[smhd]/g, `for: ${patience}`)
}
