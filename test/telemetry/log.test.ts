import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createLog, EACH } from '../../src/telemetry/log.ts'
import { poll } from '../services/poll.ts'

interface Line {
  readonly msg: string
  readonly folded?: number
  readonly platform?: string
}

/** A log that folds after 3 lines in a window of 200 ms, and what it has written when a line says `last`. */
function open(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-log-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const file = join(folder, 'log')
  const flood = { linesMax: 3, windowMs: 200 }
  const log = createLog({ level: 'info', pretty: false, secrets: ['a-secret'], file, flood })
  const lines = (isThere: (lines: Line[]) => boolean) =>
    poll(
      () => {
        const all = readFileSync(file, 'utf8').split('\n').slice(0, -1)
        const parsed = all.map((line) => JSON.parse(line) as Line)
        return isThere(parsed) ? parsed : undefined
      },
      { withinMs: 60_000, what: 'the lines are written' },
    )
  return { log, lines }
}

test('a flood of one message is folded into a count, which says of what', async (t) => {
  const { log, lines } = open(t)
  for (let i = 0; i < 1_000; i++) {
    log.warn({ platform: 'tiktok', reason: 'timeout', i }, 'job dead')
    log.warn({ platform: 'youtube', reason: 'timeout', i }, 'job dead')
  }
  const written = await lines((all) => all.filter(({ folded }) => folded !== undefined).length === 2)
  assert.equal(written.length, 8)
  for (const platform of ['tiktok', 'youtube']) {
    const [count] = written.filter((line) => line.platform === platform && line.folded !== undefined)
    assert.equal(count?.folded, 997)
    assert.equal(count?.msg, 'job dead: and so 997 times more')
  }
})

test('other messages, levels and platforms go on meanwhile, and so does the same one after a window', async (t) => {
  const { log, lines } = open(t)
  for (let i = 0; i < 10; i++) log.warn('once more')
  log.error('once more')
  log.warn('another')
  await lines((all) => all.some(({ folded }) => folded === 7))
  log.warn('once more')
  const written = await lines((all) => all.at(-1)?.msg === 'once more')
  assert.equal(written.filter(({ msg }) => msg === 'once more').length, 5)
  assert.ok(written.some(({ msg }) => msg === 'another'))
})

test('lines that are asked for one by one are never folded, nor is what ends the process', async (t) => {
  const { log, lines } = open(t)
  for (let i = 0; i < 50; i++) log.info({ [EACH]: true, job_id: `a-secret-${i}` }, 'job done')
  for (let i = 0; i < 5; i++) log.fatal('the end')
  const written = await lines((all) => all.filter(({ msg }) => msg === 'the end').length === 5)
  assert.equal(written.filter(({ msg }) => msg === 'job done').length, 50)
  assert.ok(!JSON.stringify(written).includes('a-secret'))
})
