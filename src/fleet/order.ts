import { z } from 'zod'
import { json } from './member.ts'

/** Somebody wants a platform to pause or to go on, at every daemon. */
export interface Order {
  readonly platform: string
  readonly paused: boolean
  /** In the words of who gave it, for everybody else. */
  readonly because: string
  /** Unix ms: a later order takes the place of an earlier one. */
  readonly atMs: number
}

const told = z.object({ paused: z.boolean(), because: z.string().max(300), atMs: z.number() })

/** An order from what stands in Redis; undefined for what is none. */
export function orderOf(platform: string, text: string): Order | undefined {
  const parsed = told.safeParse(json(text))
  return parsed.success ? { platform, ...parsed.data } : undefined
}
