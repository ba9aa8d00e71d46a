import { isUtf8 } from 'node:buffer'
import type { OutRecord, RecordHeaders } from '../job/record.ts'

/** Bytes as they stand in a line: text when they are UTF-8, else base64. Either way they come back byte for byte. */
type StoredBytes = string | { readonly base64: string } | null

interface StoredRecord {
  readonly key: StoredBytes
  readonly value: StoredBytes
  readonly headers: Readonly<Record<string, StoredBytes | readonly StoredBytes[]>>
  /** RFC 3339. */
  readonly timestamp: string
}

/** A record read from a line. */
export interface StoredLine extends OutRecord {
  readonly timestampMs: number
}

/** One line of NDJSON, line feed included. */
export function encodeStoredLine(record: OutRecord, timestampMs: number): string {
  const headers: Record<string, StoredBytes | StoredBytes[]> = Object.create(null)
  for (const name of Object.keys(record.headers)) {
    const value = record.headers[name]!
    headers[name] = Buffer.isBuffer(value) ? toStored(value) : value.map(toStored)
  }
  const stored: StoredRecord = {
    key: toStored(record.key),
    value: toStored(record.value),
    headers,
    timestamp: new Date(timestampMs).toISOString(),
  }
  return `${JSON.stringify(stored)}\n`
}

/**
 * The record of a line without its line feed, or undefined when the line is not one of encodeStoredLine's: a plain job that
 * somebody appended, or a torn line.
 */
export function decodeStoredLine(line: Buffer): StoredLine | undefined {
  // A cheap look first: every line of ours begins so.
  if (!line.subarray(0, 7).equals(LINE_BEGINNING)) return undefined
  let stored: unknown
  try {
    stored = JSON.parse(line.toString('utf8'))
  } catch {
    return undefined
  }
  if (!isStored(stored)) return undefined
  const headers: Record<string, Buffer | Buffer[]> = Object.create(null)
  for (const name of Object.keys(stored.headers)) {
    const value = stored.headers[name]!
    headers[name] = isList(value) ? value.map(fromHeader) : fromHeader(value)
  }
  return {
    key: fromStored(stored.key),
    value: fromStored(stored.value),
    headers,
    timestampMs: Date.parse(stored.timestamp),
  }
}

const LINE_BEGINNING = Buffer.from('{"key":')

function toStored(bytes: Buffer | null): StoredBytes {
  if (bytes === null) return null
  return isUtf8(bytes) ? bytes.toString('utf8') : { base64: bytes.toString('base64') }
}

function fromStored(stored: StoredBytes): Buffer | null {
  if (stored === null) return null
  return typeof stored === 'string' ? Buffer.from(stored, 'utf8') : Buffer.from(stored.base64, 'base64')
}

function fromHeader(stored: StoredBytes): Buffer {
  return fromStored(stored) ?? Buffer.alloc(0)
}

function isStored(json: unknown): json is StoredRecord {
  if (typeof json !== 'object' || json === null) return false
  const { key, value, headers, timestamp } = json as Partial<Record<keyof StoredRecord, unknown>>
  if (!isStoredBytes(key) || !isStoredBytes(value)) return false
  if (typeof timestamp !== 'string' || Number.isNaN(Date.parse(timestamp))) return false
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return false
  return Object.values(headers as RecordHeaders).every(
    (header: unknown) => isStoredBytes(header) || (Array.isArray(header) && header.every(isStoredBytes)),
  )
}

function isStoredBytes(value: unknown): value is StoredBytes {
  if (value === null || typeof value === 'string') return true
  return typeof value === 'object' && typeof (value as { base64?: unknown }).base64 === 'string'
}

function isList(value: StoredBytes | readonly StoredBytes[]): value is readonly StoredBytes[] {
  return Array.isArray(value)
}
