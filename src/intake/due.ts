import { HEADERS } from '../job/job.ts'
import { headerText, type RecordHeaders } from '../job/record.ts'

/** When a record of a retry topic is due, in Unix ms: from `millrace-due-at`, whole ms or RFC 3339. Undefined: now. */
export function dueAtMs(headers: RecordHeaders): number | undefined {
  const text = headerText(headers, HEADERS.dueAt)
  if (text === undefined) return undefined
  const ms = /^\d{1,16}$/.test(text) ? Number(text) : Date.parse(text)
  return Number.isFinite(ms) ? ms : undefined
}
