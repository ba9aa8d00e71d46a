/**
 * How much of its limits Meta says is used, https://developers.facebook.com/docs/graph-api/overview/rate-limiting. Two headers stand
 * on most replies once an app has made enough calls:
 *
 * - `X-App-Usage`: `call_count`, `total_time` and `total_cputime`, each in percent of what the app may use in a rolling hour. Calls
 *   are refused when any of them has reached 100.
 * - `X-Business-Use-Case-Usage`: the same three by business and use case, and `estimated_time_to_regain_access`, the minutes until
 *   calls are let in again; 0 while they are.
 *
 * `X-Ad-Account-Usage` and `X-FB-Ads-Insights-Throttle` are about the advertising APIs and say nothing about ours.
 */
import { z } from 'zod'
import type { Advice } from '../job/permit.ts'
import type { JsonReply } from '../job/platform.ts'

/** From here on calls are made more slowly, so that the rest of the hour is not spent at once. */
const SLOW_PERCENT = 90
const SHARE_MIN = 0.1
/** All is used, and for how long is not said: usage is of a rolling hour, some of which a minute gives back. */
const BLOCK_MS = 60_000
/** A day and a bit, the longest window that Meta counts in: a header may say anything. */
const BLOCK_MS_MAX = 26 * 60 * 60 * 1000

// One figure that cannot be read takes none of the others with it.
const figure = z.number().nonnegative().catch(0)
const usage = z.looseObject({
  call_count: figure,
  total_time: figure,
  total_cputime: figure,
  estimated_time_to_regain_access: figure,
})
const businessUsages = z.record(z.string(), z.array(usage.catch(usage.parse({}))).catch([]))

type Usage = z.output<typeof usage>

/**
 * Milliseconds until Meta lets us in again, the longest of all that `X-Business-Use-Case-Usage` says; undefined when it does not
 * say.
 */
export function regainAccessMs(reply: JsonReply): number | undefined {
  return longestRegainMs(businessUsagesOf(reply))
}

/**
 * What the usage headers of a reply advise; undefined when nothing. The highest of all percentages counts: from 90 on a share of
 * our limit that falls from 1 to 0.1, at 100 a block. While access is to be regained there is a block whatever the percentages are.
 */
export function usageAdvice(reply: JsonReply): Advice | undefined {
  const business = businessUsagesOf(reply)
  const usages = [...appUsageOf(reply), ...business]
  const percent = Math.max(
    0,
    ...usages.flatMap(({ call_count, total_time, total_cputime }) => [call_count, total_time, total_cputime]),
  )
  const regainMs = longestRegainMs(business)
  if (percent >= 100) return { blockMs: regainMs ?? BLOCK_MS }
  const block = regainMs === undefined ? undefined : { blockMs: regainMs }
  if (percent < SLOW_PERCENT) return block
  return { ...block, share: Math.max(SHARE_MIN, (100 - percent) / (100 - SLOW_PERCENT)) }
}

function longestRegainMs(usages: readonly Usage[]): number | undefined {
  const minutes = Math.max(0, ...usages.map((usage) => usage.estimated_time_to_regain_access))
  return minutes > 0 ? Math.min(Math.ceil(minutes * 60_000), BLOCK_MS_MAX) : undefined
}

function appUsageOf(reply: JsonReply): readonly Usage[] {
  const parsed = usage.safeParse(headerJson(reply, 'x-app-usage'))
  return parsed.success ? [parsed.data] : []
}

function businessUsagesOf(reply: JsonReply): readonly Usage[] {
  const parsed = businessUsages.safeParse(headerJson(reply, 'x-business-use-case-usage'))
  return parsed.success ? Object.values(parsed.data).flat() : []
}

function headerJson(reply: JsonReply, name: string): unknown {
  const text = reply.headers[name]
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
