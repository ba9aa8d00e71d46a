import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { MemoryLimiter } from '../../src/limiter/memory-limiter.ts'
import { AdviceRelay } from '../../src/pipeline/advice-relay.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { poll } from '../services/poll.ts'

test('the log says when a long block begins, once, and nothing of short ones', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-relay-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const file = join(folder, 'log')
  const log = createLog({ level: 'info', pretty: false, secrets: [], file })
  const bucket = { rate: 1, burst: 10 }
  const limiter = new MemoryLimiter({
    plan: {
      global: bucket,
      platforms: {},
      defaultPlatform: bucket,
      endpoints: {},
      defaultEndpoint: { limit: 60, windowMs: 60_000 },
      arrivalJitterMs: 1_000,
      grantTimeoutMs: 31_000,
    },
    metrics: createMetrics(),
  })
  const relay = new AdviceRelay(limiter, log)
  await relay.tell({ platform: 'counter', endpoint: 'count' }, { blockMs: 2_000, rejected: true })
  for (const blockMs of [3_600_000, 3_601_000]) await relay.tell({ platform: 'counter' }, { blockMs })
  log.info('the end')
  await poll(() => (existsSync(file) && readFileSync(file, 'utf8').includes('the end')) || undefined, {
    withinMs: 60_000,
    what: 'the log to be written',
  })
  const warned = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { level: number; msg: string })
    .filter(({ level }) => level === 40)
  assert.equal(warned.length, 1)
  assert.match(warned[0]?.msg ?? '', /^counter asks to be left alone: its jobs wait until 20/)
})
