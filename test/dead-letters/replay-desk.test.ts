import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileLetters } from '../../src/dead-letters/file-letters.ts'
import { ReplayDesk } from '../../src/dead-letters/replay-desk.ts'
import { FilePublisher } from '../../src/publish/file-publisher.ts'
import { silent } from '../contract/source.ts'
import { poll } from '../services/poll.ts'
import { deadLetters, never } from './rig.ts'

test('sends the letters of one reason back once, tells how far it is, and one at a time', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-desk-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const publisher = new FilePublisher({ folder, plainTopics: [] }, silent)
  await publisher.start()
  t.after(() => publisher.stop())
  const reasons = ['timeout', 'not_found', 'timeout'] as const
  await publisher.publish(
    'dead',
    deadLetters(
      'jobs',
      reasons.map((reason) => ({ reason })),
    ),
    never,
  )
  const open = () => FileLetters.open({ folder, dead: 'dead', replayed: 'replayed' })
  const desk = new ReplayDesk(
    { topics: new Set(['jobs']), marksTopic: 'replayed', destinationOf: () => 'follow-ups' },
    { open, publisher, log: silent },
  )
  t.after(() => desk.stop())
  assert.equal(desk.state, null)
  assert.equal(desk.begin('timeout'), true)
  assert.equal(desk.begin('not_found'), false, 'one is under way')
  const ended = () =>
    poll(async () => (/done|failed/.test(desk.state?.state ?? '') ? desk.state : undefined), {
      ...{ withinMs: 60_000, everyMs: 5, what: 'the end of the replay' },
    })
  assert.deepEqual(await ended(), {
    ...{ reason: 'timeout', state: 'done', planned: 2, sent: 2, leftOut: 0, problem: '' },
  })
  assert.equal(readFileSync(join(folder, 'follow-ups.ndjson'), 'utf8').trim().split('\n').length, 2)

  assert.equal(desk.begin('timeout'), true)
  const again = await ended()
  assert.deepEqual([again?.sent, again?.leftOut], [0, 2], 'sent before')
})

test('says why when the letters cannot be read', async (t) => {
  const desk = new ReplayDesk(
    { topics: new Set(), marksTopic: 'replayed', destinationOf: (topic) => topic },
    {
      open: () => Promise.reject(new Error('the broker is away')),
      publisher: { publish: async () => {}, start: async () => {}, stop: async () => {}, healthy: true },
      log: silent,
    },
  )
  t.after(() => desk.stop())
  desk.begin('timeout')
  await poll(async () => (desk.state?.state === 'failed' ? true : undefined), {
    ...{ withinMs: 60_000, everyMs: 5, what: 'the failure' },
  })
  assert.equal(desk.state?.problem, 'the broker is away')
})
