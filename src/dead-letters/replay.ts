import { MillraceError } from '../job/errors.ts'
import { HEADERS, originOf } from '../job/job.ts'
import type { OutRecord, Publisher, RecordHeaders, SourceRecord } from '../job/record.ts'
import { onAbort } from '../lib/abort.ts'
import type { DeadLetters } from './dead-letters.ts'
import { idText, type Letter } from './letter.ts'
import { Pace } from './pace.ts'
import type { ReplayPlan } from './replay-plan.ts'
import { markOf } from './replayed.ts'
import { eachCandidate, type Selection } from './selection.ts'

export interface ReplayOptions {
  /** Where marks go. */
  readonly marksTopic: string
  /** Where a letter goes, by its original topic. */
  readonly destinationOf: (originalTopic: string) => string
  /** Letters a second; undefined is as fast as they are taken. */
  readonly perSecond: number | undefined
}

export interface ReplayPorts {
  readonly letters: DeadLetters
  readonly publisher: Publisher
}

/** How far a replay came. */
export interface Replay {
  /** Letters that were sent and are remembered, by topic. */
  readonly sent: Map<string, number>
  /** Letters that their topic does not take. */
  refused: number
  /** Letters that may have been sent, and are not remembered: they would be sent again. */
  uncertain: number
}

/** A letter on its way, with all that are marked with it. */
interface Going {
  readonly topic: string
  readonly record: OutRecord
  readonly bytes: number
  readonly marks: readonly Pick<Letter, 'id' | 'atMs'>[]
}

/** As many are lost from memory at most when the process is killed: sent, and not remembered. */
const BATCH_LETTERS_MAX = 100
const BATCH_BYTES_MAX = 4 * 1024 * 1024
/** How long a batch that has begun may take when told to stop, and when not. */
const LAST_BATCH_MS = 10_000
const BATCH_MS = 60_000

/**
 * Sends the planned letters back, in the order of each partition: batch by batch, and each batch is marked when it has been
 * acknowledged, before the next. Tells in `progress` how far it came, also when it rejects: with the signal's reason when it is
 * aborted (the batch that is under way is finished first), or with a MillraceError of kind
 * `service_away` when a batch is not taken in time.
 */
export async function replay(
  plan: ReplayPlan,
  selection: Selection,
  { letters, publisher }: ReplayPorts,
  options: ReplayOptions,
  progress: Replay,
  signal: AbortSignal,
): Promise<void> {
  const pace = new Pace(options.perSecond)
  const batchMax = pace.atOnce(BATCH_LETTERS_MAX)
  let batch: Going[] = []
  let bytes = 0
  const send = async () => {
    const going = batch
    batch = []
    bytes = 0
    if (going.length === 0) return
    await pace.wait(going.length, signal)
    await sendBatch(going, publisher, options.marksTopic, progress, signal)
  }
  await eachCandidate(
    letters,
    selection,
    (letter) => {
      const marks = plan.take(letter)
      if (marks === undefined) return
      const going = goingOf(letter, marks, options)
      batch.push(going)
      bytes += going.bytes
      return batch.length >= batchMax || bytes >= BATCH_BYTES_MAX ? send() : undefined
    },
    signal,
  )
  await send()
}

async function sendBatch(
  batch: readonly Going[],
  publisher: Publisher,
  marksTopic: string,
  progress: Replay,
  stopping: AbortSignal,
): Promise<void> {
  const atMs = Date.now()
  // One call for each: the publisher gathers them in order, and one that is refused takes no other with it.
  const calls = await inTime(stopping, (signal) =>
    Promise.allSettled(
      batch.map(({ topic, record }) => publisher.publish(topic, [stamped(record, atMs)], signal)),
    ),
  )
  const accepted = batch.filter((_, index) => calls[index]?.status === 'fulfilled')
  const failures = calls.flatMap((call) => (call.status === 'rejected' ? [call.reason as unknown] : []))
  const refused = failures.filter(isRefusal).length
  progress.refused += refused
  progress.uncertain += batch.length - refused
  if (accepted.length > 0) {
    // In a time of their own: that one topic takes no records must not make us forget what others took.
    const marks = accepted.flatMap(({ marks, topic }) =>
      marks.map((letter) => markOf(letter, { topic, atMs })),
    )
    await inTime(stopping, (signal) => publisher.publish(marksTopic, marks, signal)).catch(explain)
    progress.uncertain -= accepted.length
    for (const { topic } of accepted) progress.sent.set(topic, (progress.sent.get(topic) ?? 0) + 1)
  }
  const failure = failures.find((reason) => !isRefusal(reason))
  if (failure !== undefined) explain(failure)
}

/** Runs `work` with a signal that is aborted when it takes too long, which is sooner once we are told to stop. */
async function inTime<T>(stopping: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const giveUp = new AbortController()
  const late = () => giveUp.abort(new LateError('not in time'))
  const timers = [setTimeout(late, BATCH_MS)]
  const forget = onAbort(stopping, () => timers.push(setTimeout(late, LAST_BATCH_MS)))
  try {
    return await work(giveUp.signal)
  } finally {
    forget()
    for (const timer of timers) clearTimeout(timer)
  }
}

class LateError extends Error {
  override readonly name = 'LateError'
}

function explain(error: unknown): never {
  if (!(error instanceof LateError)) throw error
  throw new MillraceError(
    'REPLAY_STUCK',
    `no records are taken any more: ${BATCH_MS / 1_000} s without an answer`,
    {
      kind: 'service_away',
      cause: error,
    },
  )
}

function isRefusal(error: unknown): boolean {
  return error instanceof MillraceError && error.code === 'RECORD_REFUSED'
}

function goingOf(letter: Letter, marks: Going['marks'], { destinationOf }: ReplayOptions): Going {
  const record = replayRecord(letter.record)
  const bytes = (record.key?.length ?? 0) + (record.value?.length ?? 0)
  return { topic: destinationOf(originOf(letter.record).topic), record, bytes, marks }
}

/** Ours that stay: who the job is, and its logical time. */
const KEPT: ReadonlySet<string> = new Set([
  HEADERS.originalTopic,
  HEADERS.originalPartition,
  HEADERS.originalOffset,
  HEADERS.originalTimestamp,
])
const DROPPED: ReadonlySet<string> = new Set(Object.values(HEADERS).filter((name) => !KEPT.has(name)))

/** A dead letter as it is sent back: key, value and foreign headers byte for byte, of ours those that say where it came from. */
export function replayRecord(record: SourceRecord): OutRecord {
  const headers: Record<string, RecordHeaders[string]> = Object.create(null)
  for (const name of Object.keys(record.headers)) {
    if (!DROPPED.has(name)) headers[name] = record.headers[name]!
  }
  headers[HEADERS.replayOf] = Buffer.from(idText(record))
  return { key: record.key, value: record.value, headers }
}

/** With the time when it is sent, which is not the time when it was read. */
function stamped({ headers, ...record }: OutRecord, atMs: number): OutRecord {
  const replayedAt = Buffer.from(String(atMs))
  return {
    ...record,
    headers: Object.assign(Object.create(null), headers, { [HEADERS.replayedAt]: replayedAt }),
  }
}
