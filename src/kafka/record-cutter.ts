import { HEADERS } from '../job/job.ts'

/** A record above this is cut even when it is alone. */
export const CUT_RECORD_BYTES_MAX = 16 * 1024 * 1024
/** What stays of a value that is cut. */
const KEPT_BYTES = 1024
/** How much of a record is read before it is cut: its key and the beginning of its value. */
const PREFIX_BYTES = 64 * 1024
/** A varint of 32 bits has at most 5 bytes. */
const VARINT_BYTES_MAX = 5

export interface CutOptions {
  /** Records are kept whole until this much is collected; after it only small ones are. */
  readonly bytesMax: number
  readonly recordBytesMax: number
}

/**
 * Rewrites the inner records of a Kafka batch (message format v2) so that the result stays bounded, whatever the batch
 * opens to. Every record keeps its place, time and key; one that is too large keeps the first 1,024 bytes of its value
 * and gets the header `millrace-cut-bytes` instead of its own headers. Without this a single compressed record of some
 * gigabytes would stop its partition for ever: the client decodes a fetch as a whole or not at all.
 *
 * A record is a zigzag varint length, then attributes (1 byte), timestamp delta, offset delta, key, value (each with a
 * varint length, -1 is null) and headers. Source: Kafka's documentation, "Message Format".
 */
export async function cutRecords(
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
  options: CutOptions,
): Promise<Buffer> {
  const out: Buffer[] = []
  let outBytes = 0
  let pending: Buffer[] = []
  let pendingBytes = 0
  /** Bytes of a cut record that are still to come. */
  let skip = 0

  const emit = (bytes: Buffer) => {
    if (bytes.length === 0) return
    outBytes += bytes.length
    out.push(bytes)
  }

  for await (const chunk of chunks) {
    const skipped = Math.min(skip, chunk.length)
    skip -= skipped
    if (skipped === chunk.length) continue
    pending.push(skipped === 0 ? chunk : chunk.subarray(skipped))
    pendingBytes += chunk.length - skipped
    if (pendingBytes < needed(pending[0]!, pendingBytes, outBytes, options)) continue

    const buffer = pending.length === 1 ? pending[0]! : Buffer.concat(pending, pendingBytes)
    let at = 0
    /** Where the records begin that are kept and not emitted yet: neighbours go out together. */
    let from = 0
    while (at < buffer.length) {
      const length = decodeVarint(buffer, at)
      if (length === undefined) break
      const body = length.end
      const rest = buffer.length - body
      if (isKept(length.value, outBytes + at - from, options)) {
        if (rest < length.value) break
        at = body + length.value
        continue
      }
      const prefixBytes = Math.min(length.value, PREFIX_BYTES)
      if (rest < prefixBytes) break
      emit(Buffer.from(buffer.subarray(from, at)))
      const shortened = cut(buffer.subarray(body, body + prefixBytes))
      emit(Buffer.concat([encodeVarint(shortened.length), shortened]))
      at = Math.min(body + length.value, buffer.length)
      from = at
      skip = body + length.value - at
    }
    emit(Buffer.from(buffer.subarray(from, at)))
    pending = at === buffer.length ? [] : [buffer.subarray(at)]
    pendingBytes = buffer.length - at
  }
  return Buffer.concat(out)
}

function isKept(recordBytes: number, outBytes: number, options: CutOptions): boolean {
  if (recordBytes <= 4 * KEPT_BYTES) return true
  return recordBytes <= options.recordBytesMax && outBytes + recordBytes <= options.bytesMax
}

/** How many bytes must be there before it is worth looking: joins the chunks of a large record once, not at every chunk. */
function needed(first: Buffer, pendingBytes: number, outBytes: number, options: CutOptions): number {
  const length = decodeVarint(first, 0)
  if (length === undefined) return pendingBytes > VARINT_BYTES_MAX ? 0 : VARINT_BYTES_MAX + 1
  const body = isKept(length.value, outBytes, options) ? length.value : Math.min(length.value, PREFIX_BYTES)
  return length.end + body
}

/** The record with a shorter value. `prefix` begins at its attributes. */
function cut(prefix: Buffer): Buffer {
  const timestamp = skipVarint(prefix, 1)
  const offset = skipVarint(prefix, timestamp)
  const key = decodeVarint(prefix, offset)!
  const keyEnd = key.end + Math.max(0, key.value)
  // A key beyond what we read is hostile as well: the record goes on without it.
  const hasKey = keyEnd + VARINT_BYTES_MAX < prefix.length
  const value = hasKey ? decodeVarint(prefix, keyEnd)! : { value: key.value, end: key.end }
  const kept = prefix.subarray(value.end, value.end + Math.min(KEPT_BYTES, Math.max(0, value.value)))
  const name = Buffer.from(HEADERS.cut)
  const note = Buffer.from(String(value.value))
  return Buffer.concat([
    prefix.subarray(0, offset),
    hasKey ? prefix.subarray(offset, keyEnd) : encodeVarint(-1),
    encodeVarint(kept.length),
    kept,
    encodeVarint(1),
    encodeVarint(name.length),
    name,
    encodeVarint(note.length),
    note,
  ])
}

/** A zigzag varint of up to 32 bits, or undefined when the buffer ends within it. */
export function decodeVarint(buffer: Buffer, at: number): { value: number; end: number } | undefined {
  let raw = 0
  for (let index = 0; index < VARINT_BYTES_MAX; index += 1) {
    const byte = buffer[at + index]
    if (byte === undefined) return undefined
    raw += (byte & 0x7f) * 2 ** (7 * index)
    if (byte < 0x80) return { value: raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2, end: at + index + 1 }
  }
  throw new Error('a record of the batch has no sound length')
}

export function encodeVarint(value: number): Buffer {
  const bytes: number[] = []
  let raw = value < 0 ? -value * 2 - 1 : value * 2
  while (raw >= 0x80) {
    bytes.push((raw % 0x80) | 0x80)
    raw = Math.floor(raw / 0x80)
  }
  bytes.push(raw)
  return Buffer.from(bytes)
}

/** Where the number after this one begins; also for the 64 bits of a timestamp. */
function skipVarint(buffer: Buffer, at: number): number {
  let end = at
  while (buffer[end]! >= 0x80) end += 1
  return end + 1
}
