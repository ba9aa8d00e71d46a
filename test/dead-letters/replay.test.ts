import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { FileLetters } from '../../src/dead-letters/file-letters.ts'
import { type Replay, replay } from '../../src/dead-letters/replay.ts'
import { planReplay } from '../../src/dead-letters/replay-plan.ts'
import { MillraceError } from '../../src/job/errors.ts'
import type { OutRecord, Publisher } from '../../src/job/record.ts'
import { FilePublisher } from '../../src/publish/file-publisher.ts'
import { silent } from '../contract/source.ts'
import { deadLetters, never } from './rig.ts'

const JOBS = 'jobs'
const MARKS = 'replayed'

async function buried(t: TestContext, count: number) {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-replay-'))
  const files = new FilePublisher({ folder, plainTopics: [] }, silent)
  await files.start()
  const dead = deadLetters(
    JOBS,
    Array.from({ length: count }, () => ({ reason: 'timeout' as const })),
  )
  await files.publish('dead', dead, never)
  const letters = await FileLetters.open({ folder, dead: 'dead', replayed: MARKS })
  t.after(async () => {
    await letters.close()
    await files.stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  return { letters, files }
}

/** A publisher that does with a record what `publish` does with it. */
function publisherOf(publish: Publisher['publish']): Publisher {
  return { publish, healthy: true, start: async () => {}, stop: async () => {} }
}

async function send(
  { letters }: { letters: FileLetters },
  publisher: Publisher,
  signal = never,
): Promise<{ progress: Replay; error: unknown }> {
  const options = { marksTopic: MARKS, destinationOf: (topic: string) => topic, perSecond: undefined }
  const selection = { reasons: ['timeout' as const] }
  const plan = await planReplay(letters, selection, { topics: new Set([JOBS]), nowMs: Date.now() }, never)
  const progress: Replay = { sent: new Map(), refused: 0, uncertain: 0 }
  const error = await replay(plan, selection, { letters, publisher }, options, progress, signal).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  return { progress, error }
}

test('a batch is marked before the next is sent', async (t) => {
  const place = await buried(t, 250)
  const calls: string[] = []
  const count = (topic: string, records: readonly OutRecord[]) => {
    if (calls.at(-1)?.startsWith(topic))
      calls.push(`${topic} ${Number(calls.pop()!.split(' ')[1]) + records.length}`)
    else calls.push(`${topic} ${records.length}`)
  }
  const publisher = publisherOf(async (topic, records, signal) => {
    count(topic, records)
    await place.files.publish(topic, records, signal)
  })
  const { progress, error } = await send(place, publisher)
  assert.equal(error, undefined)
  assert.deepEqual(calls, ['jobs 100', 'replayed 100', 'jobs 100', 'replayed 100', 'jobs 50', 'replayed 50'])
  assert.deepEqual(progress, { sent: new Map([[JOBS, 250]]), refused: 0, uncertain: 0 })
})

test('told to stop, it finishes the batch that is under way, marks it, and sends no other', async (t) => {
  const place = await buried(t, 250)
  const stopping = new AbortController()
  const publisher = publisherOf(async (topic, records, signal) => {
    stopping.abort(new Error('stop'))
    await place.files.publish(topic, records, signal)
  })
  const { progress, error } = await send(place, publisher, stopping.signal)
  assert.equal(error, stopping.signal.reason)
  assert.deepEqual(progress, { sent: new Map([[JOBS, 100]]), refused: 0, uncertain: 0 })
  const rest = await send(place, place.files)
  assert.deepEqual(rest.progress.sent, new Map([[JOBS, 150]]))
})

test('what was refused is not marked, what was sent beside it is', async (t) => {
  const place = await buried(t, 5)
  let calls = 0
  const publisher = publisherOf(async (topic, records, signal) => {
    calls += 1
    if (calls === 3) throw new MillraceError('RECORD_REFUSED', 'too large')
    await place.files.publish(topic, records, signal)
  })
  const { progress, error } = await send(place, publisher)
  assert.equal(error, undefined)
  assert.deepEqual(progress, { sent: new Map([[JOBS, 4]]), refused: 1, uncertain: 0 })
  const again = await send(place, place.files)
  assert.deepEqual(again.progress.sent, new Map([[JOBS, 1]]))
})

test('what was sent and could not be marked is told as uncertain', async (t) => {
  const place = await buried(t, 5)
  const publisher = publisherOf(async (topic, records, signal) => {
    if (topic === MARKS) throw new Error('the disk is full')
    await place.files.publish(topic, records, signal)
  })
  const { progress, error } = await send(place, publisher)
  assert.match(String(error), /the disk is full/)
  assert.deepEqual(progress, { sent: new Map(), refused: 0, uncertain: 5 })
})

test('a batch that is not taken in time ends the replay; what was taken of it is marked', async (t) => {
  const place = await buried(t, 5)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let calls = 0
  const publisher = publisherOf(async (topic, _records, signal) => {
    calls += 1
    if (topic === MARKS || calls <= 2) return
    await new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true })
      queueMicrotask(() => t.mock.timers.tick(60_000))
    })
  })
  const { progress, error } = await send(place, publisher)
  assert.ok(error instanceof MillraceError)
  assert.equal(error.kind, 'service_away')
  assert.deepEqual(progress, { sent: new Map([[JOBS, 2]]), refused: 0, uncertain: 3 })
})
