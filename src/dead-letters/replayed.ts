import type { OutRecord } from '../job/record.ts'
import { idText, type Letter, type LetterId, parseId } from './letter.ts'

/** Any letter at that place, whenever it was written. */
const WHENEVER = -1

/**
 * Which dead letters were sent back, by the marks that a replay leaves: one record each, its key the letter's id. A mark tells
 * the time of its letter too: when the topic or the file was made anew, other letters stand at the same places.
 */
export class Replayed {
  readonly #times = new Map<number, Map<number, number>>()

  /** A later mark takes the place of an earlier one; a mark without a value takes it back. */
  add({ key, value }: Pick<OutRecord, 'key' | 'value'>): void {
    const id = parseId(key?.toString('utf8') ?? '')
    if (id === undefined) return
    const times = this.#times.get(id.partition) ?? new Map<number, number>()
    this.#times.set(id.partition, times)
    if (value === null) times.delete(id.offset)
    else times.set(id.offset, deadAtOf(value))
  }

  has({ id, atMs }: Pick<Letter, 'id' | 'atMs'>): boolean {
    const markedMs = this.#times.get(id.partition)?.get(id.offset)
    return markedMs === atMs || markedMs === WHENEVER
  }
}

/** What is remembered of a letter that was sent back. Times in Unix ms. */
export function markOf(
  letter: { readonly id: LetterId; readonly atMs: number },
  sent: { readonly topic: string; readonly atMs: number },
): OutRecord {
  const value = {
    topic: sent.topic,
    replayed_at: new Date(sent.atMs).toISOString(),
    dead_at: new Date(letter.atMs).toISOString(),
  }
  return { key: Buffer.from(idText(letter.id)), value: Buffer.from(JSON.stringify(value)), headers: {} }
}

function deadAtOf(value: Buffer): number {
  try {
    const atMs = Date.parse((JSON.parse(value.toString('utf8')) as { dead_at: string }).dead_at)
    return Number.isNaN(atMs) ? WHENEVER : atMs
  } catch {
    return WHENEVER
  }
}
