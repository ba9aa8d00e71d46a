import { z } from 'zod'

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const UNIT_BYTES = {
  B: 1,
  KB: 1_000,
  MB: 1_000_000,
  GB: 1_000_000_000,
  KiB: 1_024,
  MiB: 1_048_576,
  GiB: 1_073_741_824,
} as const

/** A duration such as `500ms`, `30s`, `5m`, `1h`, `1d`, as milliseconds; `min` and `max` are durations too. */
export function duration(range: { min?: string; max?: string } = {}) {
  const min = range.min === undefined ? 1 : parseDuration(range.min)!
  const max = range.max === undefined ? parseDuration('30d')! : parseDuration(range.max)!
  return z
    .string('expected a duration such as 500ms, 30s, 5m or 1h')
    .meta({ examples: ['500ms', '30s', '5m', '1h'] })
    .transform((text, context) => {
      const ms = parseDuration(text)
      if (ms === undefined || ms < min || ms > max) {
        const bounds = `${range.min ?? '1ms'} to ${range.max ?? '30d'}`
        context.addIssue({
          code: 'custom',
          message: `expected a duration such as 500ms, 30s, 5m or 1h, from ${bounds}`,
        })
        return z.NEVER
      }
      return ms
    })
}

/** A size such as `64KiB`, `20MB` or a plain number of bytes, as bytes. */
export function bytes(range: { min?: number; max?: number } = {}) {
  return z
    .union([z.int(), z.string()], 'expected a size such as 64KiB or 20MB')
    .transform((input, context) => {
      const size = typeof input === 'number' ? input : parseBytes(input)
      if (size === undefined || size < (range.min ?? 1) || size > (range.max ?? 64 * UNIT_BYTES.GiB)) {
        context.addIssue({
          code: 'custom',
          message: `expected a size such as 64KiB or 20MB, from ${range.min ?? 1} to ${range.max ?? '64GiB'} bytes`,
        })
        return z.NEVER
      }
      return size
    })
}

/** Milliseconds of `30s`, or undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim())
  if (match === null) return undefined
  return Math.round(Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS])
}

/** Bytes of `20MB`, or undefined when it is no size. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)?$/.exec(text.trim())
  if (match === null) return undefined
  return Math.round(Number(match[1]) * UNIT_BYTES[(match[2] ?? 'B') as keyof typeof UNIT_BYTES])
}

/** The shortest exact spelling of a duration: 30000 → `30s`. */
export function formatDuration(ms: number): string {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms >= UNIT_MS[unit] && ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`
  }
  return `${ms}ms`
}

export const text = z.string().min(1)

/** A list, or the same as one text with commas: what an environment variable can hold. */
export function listed(given: unknown): unknown {
  return typeof given === 'string' ? given.split(',').map((part) => part.trim()) : given
}

/** A share that is not nothing. */
export const ratio = z.number().gt(0).max(1)

/** 0: any that is free. */
export const port = z.int().min(0).max(65535)
