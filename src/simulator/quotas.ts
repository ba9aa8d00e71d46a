import type { Played } from './options.ts'

/** Where each platform's day begins. */
const ZONES: Readonly<Partial<Record<Played, string>>> = { youtube: 'America/Los_Angeles', tiktok: 'UTC' }
const MINUTE_MS = 60_000

/** Calls a day of each account. A spent quota is no violation: nobody outside can know what else used it. */
export class Quotas {
  readonly #limits: Readonly<Partial<Record<Played, number>>>
  readonly #used = new Map<string, { day: string; calls: number }>()
  readonly #days = new Map<Played, { minute: number; day: string }>()

  constructor(limits: Readonly<Partial<Record<Played, number>>>) {
    this.#limits = limits
  }

  /** Takes one call of today's; false when there is none left. Calls of nobody are refused by other means. */
  take(platform: Played, account: number | undefined, nowMs: number): boolean {
    const limit = this.#limits[platform]
    if (limit === undefined || account === undefined) return true
    const name = `${platform}/${account}`
    const day = this.#day(platform, nowMs)
    let used = this.#used.get(name)
    if (used?.day !== day) {
      used = { day, calls: 0 }
      this.#used.set(name, used)
    }
    if (used.calls >= limit) return false
    used.calls += 1
    return true
  }

  /** Asking the calendar is slow, so it is asked once a minute. */
  #day(platform: Played, nowMs: number): string {
    const minute = Math.floor(nowMs / MINUTE_MS)
    const known = this.#days.get(platform)
    if (known?.minute === minute) return known.day
    const day = new Intl.DateTimeFormat('en-CA', { timeZone: ZONES[platform] ?? 'UTC' }).format(nowMs)
    this.#days.set(platform, { minute, day })
    return day
  }
}
