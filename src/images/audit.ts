import { MillraceError } from '../job/errors.ts'
import type { PictureRow, PictureRows } from '../job/picture.ts'
import type { ObjectInfo, ObjectStore } from '../job/store.ts'
import { damageOf } from './damage.ts'

/**
 * The store against the rows. Both sides are cut into 256 parts by the first two digits of the keys, which are those of a hash and so
 * divide them evenly. As many parts as hold about 100,000 keys, or one, are in memory at a time.
 */
export interface AuditParts {
  readonly rows: PictureRows
  readonly store: ObjectStore
}

const PREFIXES = Array.from({ length: 256 }, (_, at) => `pictures/${at.toString(16).padStart(2, '0')}/`)
/** Keys that are looked at together: one question to the database reads its whole table, however few it asks for. */
const TOGETHER = 100_000
/** What `keyOf` makes, and nothing else: a bucket may hold what is not ours. */
const OURS = /^pictures\/([0-9a-f]{2})\/\1[0-9a-f]{62}\/[a-z0-9_-]+\.(jpg|webp|avif)$/
/** As many requests as the S3 store sends at once. */
const AT_ONCE = 8

/** A row whose object is not there, or is not what the row says. */
export interface Fault {
  readonly status: 'missing' | 'wrong_length' | 'damaged'
  readonly row: PictureRow
  readonly why: string
}

export interface Verified {
  /** Different keys that rows name. */
  keys: number
  /** Objects that a row names. */
  objects: number
  missing: number
  wrongLength: number
  damaged: number
}

/**
 * Every row's object: is it there, and as long as the row says; with `deep`, is it a whole picture of its kind. The rows of a part
 * are read before its objects are listed, so what a daemon stores meanwhile is not taken for missing.
 */
export async function verifyPictures(
  { rows, store }: AuditParts,
  options: {
    readonly deep: boolean
    readonly onFault: (fault: Fault) => Promise<void>
    readonly signal: AbortSignal
  },
): Promise<Verified> {
  const { deep, onFault, signal } = options
  const tally: Verified = { keys: 0, objects: 0, missing: 0, wrongLength: 0, damaged: 0 }
  const together = Math.max(
    1,
    Math.floor((PREFIXES.length * TOGETHER) / Math.max(1, await rows.count(signal))),
  )
  for (let at = 0; at < PREFIXES.length; at += together) {
    const prefixes = PREFIXES.slice(at, at + together)
    const expected = await rows.between(rangeOf(prefixes), signal)
    tally.keys += expected.size
    const whole: PictureRow[] = []
    for (const prefix of prefixes) {
      if (expected.size === 0) break
      for await (const { key, bytes } of store.list(prefix, signal)) {
        const row = expected.get(key)
        if (row === undefined) continue
        expected.delete(key)
        tally.objects++
        if (bytes === row.bytes) {
          if (deep) whole.push(row)
          continue
        }
        tally.wrongLength++
        await onFault({ status: 'wrong_length', row, why: `has ${bytes} bytes, its row says ${row.bytes}` })
      }
    }
    for (const row of expected.values()) {
      tally.missing++
      await onFault({ status: 'missing', row, why: 'is not in the store' })
    }
    await each(whole, async (row) => {
      const bytes = await store.get(row.key, signal)
      const why = bytes === null ? 'is not in the store any more' : damageOf(row.key, bytes)
      if (why === null) return
      tally.damaged++
      await onFault({ status: 'damaged', row, why })
    })
  }
  return tally
}

export interface SweepOptions {
  /** Objects younger than this are kept: the rows of what was stored just now are still on their way. */
  readonly graceMs: number
  /** Refused when more than this share of the objects would go: then it is rather the wrong database. */
  readonly shareMax: number
  readonly dryRun: boolean
  /** Told of each object that no row names: before it is deleted, or instead. */
  readonly onOrphan: (object: ObjectInfo) => Promise<void>
  /** Unix ms. */
  readonly nowMs: number
  readonly signal: AbortSignal
}

export interface Swept {
  /** Kept, because a row names them. */
  named: number
  /** Kept, because they are younger than the grace period, though no row names them yet. */
  young: number
  /** Below `pictures/`, but not named as we name pictures: left alone. */
  foreign: number
  orphans: number
  orphanBytes: number
}

/**
 * Deletes objects that no row names and that are older than the grace period. The objects of a part are listed before its rows are
 * read: an object whose row has arrived by then stays. Goes through everything once before it deletes anything, and rejects with
 * MillraceError `SWEEP_REFUSED` when there is no row at all, or too much would go.
 */
export async function sweepPictures(parts: AuditParts, options: SweepOptions): Promise<Swept> {
  const { rows, store } = parts
  const { shareMax, dryRun, onOrphan, signal } = options
  if (!dryRun) {
    const none = async () => {}
    const planned = await orphansOf(parts, { ...options, take: none })
    refuseMost(planned, { rows: await rows.count(signal), shareMax })
  }
  return await orphansOf(parts, {
    ...options,
    take: (orphans) =>
      each(orphans, async (object) => {
        await onOrphan(object)
        if (!dryRun) await store.delete(object.key, signal)
      }),
  })
}

async function orphansOf(
  { rows, store }: AuditParts,
  options: Pick<SweepOptions, 'graceMs' | 'nowMs' | 'signal'> & {
    readonly take: (orphans: readonly ObjectInfo[]) => Promise<void>
  },
): Promise<Swept> {
  const { graceMs, nowMs, signal, take } = options
  const tally: Swept = { named: 0, young: 0, foreign: 0, orphans: 0, orphanBytes: 0 }
  let objects: ObjectInfo[] = []
  let prefixes: string[] = []
  for (const prefix of PREFIXES) {
    for await (const object of store.list(prefix, signal)) {
      if (OURS.test(object.key)) objects.push(object)
      else tally.foreign++
    }
    prefixes.push(prefix)
    if (objects.length < TOGETHER && prefix !== PREFIXES.at(-1)) continue
    const named = objects.length === 0 ? new Map() : await rows.between(rangeOf(prefixes), signal)
    const orphans: ObjectInfo[] = []
    for (const object of objects) {
      if (named.has(object.key)) tally.named++
      else if (nowMs - object.modifiedAtMs < graceMs) tally.young++
      else {
        tally.orphans++
        tally.orphanBytes += object.bytes
        orphans.push(object)
      }
    }
    await take(orphans)
    objects = []
    prefixes = []
  }
  return tally
}

/** The range of keys that begin with one of these prefixes, which follow one another. */
function rangeOf(prefixes: readonly string[]): { from: string; below: string } {
  // `0` is the character after `/`.
  return { from: prefixes[0]!, below: prefixes.at(-1)!.replace(/\/$/, '0') }
}

function refuseMost(
  planned: Swept,
  { rows, shareMax }: { readonly rows: number; readonly shareMax: number },
): void {
  const { orphans, named, young } = planned
  if (orphans === 0) return
  const objects = orphans + named + young
  if (rows === 0) {
    throw refused(
      `the database has no picture at all, and the store has ${objects} objects; nothing was deleted. ` +
        'Are clickhouse and store those of one and the same daemon?',
    )
  }
  if (orphans <= objects * shareMax) return
  throw refused(
    `${orphans} of ${objects} objects would go, more than the share of ${shareMax} that --max-share allows; nothing was deleted. ` +
      'Are clickhouse and store those of one and the same daemon? --dry-run names the objects',
  )
}

function refused(message: string): MillraceError {
  return new MillraceError('SWEEP_REFUSED', `sweep: ${message}.`)
}

/** A few at a time, in order of their beginning. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < items.length) await work(items[next++]!)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}
