/** What of a partition is finished beyond the committed offset, as it is stored with the commit. */
export interface Beyond {
  /** The committed offset: the smallest unfinished one. */
  readonly offset: number
  readonly text: string
}

const VERSION = '1'
/** Brokers take 4,096 characters beside an offset by default (`offset.metadata.max.bytes`). */
const BYTES_MAX = 2_900

/**
 * Writes down which offsets from `offset` up to `next` are finished: all but the unfinished ones, which are given in ascending
 * order, the first of them being `offset`. Lengths of runs, in turn unfinished and finished, as varints; what does not fit is left
 * out, and thus repeated. The idea is that of Confluent's Parallel Consumer, which keeps such a map in the commit's metadata too.
 *
 * `nowMs` goes along: a record that is younger than the commit is another one, in a topic that was made anew.
 *
 * `before`: what an assignment before this one had finished; what lies from `next` on was not read again yet and is said again. Its
 * time then stands for all of it, since whatever lies below was there by then too.
 */
export function encodeBeyond(
  offset: number,
  next: number,
  unfinished: Iterable<number>,
  nowMs: number,
  before?: FinishedBefore,
): string {
  const unread = before?.from(next) ?? []
  const timeMs = before !== undefined && unread.length > 0 ? before.beforeMs : nowMs
  const bytes: number[] = []
  let expected = offset
  let length = 0
  const close = (finished: number): boolean => {
    const run = [...varint(length), ...varint(finished)]
    if (bytes.length + run.length > BYTES_MAX) return false
    bytes.push(...run)
    return true
  }
  for (const one of unfinished) {
    if (one > expected) {
      if (!close(one - expected)) return joined(bytes, timeMs)
      length = 0
    }
    length += 1
    expected = one + 1
  }
  if (length > 0 && next > expected) {
    if (!close(next - expected)) return joined(bytes, timeMs)
    length = 0
    expected = next
  }
  for (const [first, end] of unread) {
    length += first - expected
    if (!close(end - first)) break
    length = 0
    expected = end
  }
  return joined(bytes, timeMs)
}

/** Which records were finished in an assignment before. Asked with ascending offsets. */
export class FinishedBefore {
  /** When it was committed, Unix ms. */
  readonly beforeMs: number
  /** Ascending, each from its first offset up to the one after its last. */
  readonly #runs: readonly (readonly [number, number])[]
  #at = 0

  private constructor(runs: readonly (readonly [number, number])[], beforeMs: number) {
    this.#runs = runs
    this.beforeMs = beforeMs
  }

  /** Undefined for what is empty, or was not written by us. */
  static read({ offset, text }: Beyond): FinishedBefore | undefined {
    const [version, time, runs] = text.split(':')
    const beforeMs = Number.parseInt(time ?? '', 36)
    if (version !== VERSION || runs === undefined || !Number.isSafeInteger(beforeMs)) return undefined
    const lengths = varints(Buffer.from(runs, 'base64url'))
    const found: [number, number][] = []
    let at = offset
    for (let i = 0; i + 1 < lengths.length; i += 2) {
      at += lengths[i]!
      found.push([at, at + lengths[i + 1]!])
      at += lengths[i + 1]!
    }
    return found.length > 0 && Number.isSafeInteger(at) ? new FinishedBefore(found, beforeMs) : undefined
  }

  /** The runs from an offset on, which is not below the last that was asked for. */
  from(offset: number): (readonly [number, number])[] {
    return this.#runs
      .slice(this.#at)
      .filter(([, end]) => end > offset)
      .map(([first, end]) => [Math.max(first, offset), end] as const)
  }

  has(offset: number, timestampMs: number): boolean {
    while (this.#at < this.#runs.length && offset >= this.#runs[this.#at]![1]) this.#at += 1
    const run = this.#runs[this.#at]
    return run !== undefined && offset >= run[0] && timestampMs <= this.beforeMs
  }
}

function joined(bytes: readonly number[], nowMs: number): string {
  if (bytes.length === 0) return ''
  return `${VERSION}:${nowMs.toString(36)}:${Buffer.from(bytes).toString('base64url')}`
}

/** Seven bits a byte, the lowest first; files have positions beyond 32 bits. */
function varint(value: number): number[] {
  const bytes: number[] = []
  let left = value
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push((left % 128) | 128)
  bytes.push(left)
  return bytes
}

function varints(bytes: Buffer): number[] {
  const values: number[] = []
  let value = 0
  let factor = 1
  for (const byte of bytes) {
    value += (byte & 127) * factor
    factor *= 128
    if (byte >= 128) continue
    values.push(value)
    value = 0
    factor = 1
  }
  return values
}
