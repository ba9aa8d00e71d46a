import { z } from 'zod'
import { CURSOR_LENGTH_MAX } from './cursor.ts'

/** What an address's query and path may hold. Texts come as texts; these turn them into what they mean, strictly. */

const WHOLE = /^-?\d{1,15}$/
const NUMBER = /^-?\d{1,15}(\.\d{1,20})?(e[+-]?\d{1,3})?$/i
const read = (shape: RegExp) => (text: unknown) =>
  typeof text === 'string' && shape.test(text) ? Number(text) : text

export const number = (min: number, max: number) => z.preprocess(read(NUMBER), z.number().min(min).max(max))
export const whole = (min: number, max: number) => z.preprocess(read(WHOLE), z.int().min(min).max(max))
export const flagged = z.preprocess(
  (text) => (text === 'true' ? true : text === 'false' ? false : text),
  z.boolean(),
)

/** No control characters: none of them is part of anything that we keep, and the engine's text formats would choke on some. */
export const printable = (max: number, but = '') =>
  z
    .string()
    .regex(new RegExp(`^${but}[^\\u0000-\\u001f\\u007f-\\u009f]{1,${max}}$`, 'u'))
    .refine((text) => text.isWellFormed(), 'expected well-formed Unicode')

export const platformName = z.string().regex(/^[a-z][a-z0-9_]{0,63}$/)
export const creatorId = printable(200).describe("The platform's id or handle of the creator.")
/** Not `.` or `..`, which no address can end with. */
export const jobId = printable(200, '(?!\\.\\.?$)')
export const cursor = z
  .string()
  .regex(new RegExp(`^[A-Za-z0-9_-]{1,${CURSOR_LENGTH_MAX - 24}}\\.[A-Za-z0-9_-]{22}$`))
  .describe('`next_cursor` of the page before; with the same filters and sort.')
export const instant = z.iso.datetime({ offset: true })
export const utc = z.iso.datetime()

export const creatorPath = z.strictObject({ platform: platformName, id: creatorId })

export const nextCursor = z.string().nullable().describe('null on the last page.')
