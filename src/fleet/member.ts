import { z } from 'zod'

/** What a daemon says of itself to the others. */
export interface Report {
  /** The host's name. */
  readonly name: string
  /** Where its console is, as the configuration says or the admin server knows; null when it has none. */
  readonly url: string | null
  readonly version: string
  /** RFC 3339. */
  readonly startedAt: string
  readonly ready: boolean
  readonly inFlight: number
  /** Jobs that it has ended since it started. */
  readonly ended: number
  /** Jobs that it ended a second lately. */
  readonly perSecond: number
}

/** A daemon as another one knows it. */
export interface Member extends Report {
  readonly id: string
  readonly isSelf: boolean
  /** Since it was last heard. */
  readonly silentMs: number
}

/** What comes from Redis may be another version's, or not ours at all. An address is one that a browser may be sent to. */
const told = z.object({
  name: z.string().max(253),
  url: z
    .url({ protocol: /^https?$/ })
    .max(500)
    .nullable(),
  version: z.string().max(40),
  startedAt: z.iso.datetime(),
  ready: z.boolean(),
  inFlight: z.number(),
  ended: z.number(),
  perSecond: z.number(),
  seenMs: z.number(),
})

/** A member from what stands in Redis; undefined for what is none. */
export function memberOf(
  id: string,
  text: string,
  { nowMs, selfId }: { readonly nowMs: number; readonly selfId: string },
): Member | undefined {
  const parsed = told.safeParse(json(text))
  if (!parsed.success) return undefined
  const { seenMs, ...report } = parsed.data
  return { ...report, id, isSelf: id === selfId, silentMs: Math.max(0, nowMs - seenMs) }
}

/** Undefined for what is no JSON. */
export function json(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
