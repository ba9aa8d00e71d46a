import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryLimiter } from '../../src/limiter/memory-limiter.ts'
import { recordLevels } from '../../src/limiter/utilisation.ts'
import { CONTRACT_PLAN, contractOf } from './limiter-contract.ts'
import { demand, metrics, PLAN, want } from './sample.ts'

const EPOCH_MS = 1_760_000_000_000.5

contractOf(
  'in memory',
  async () =>
    new MemoryLimiter({
      plan: CONTRACT_PLAN,
      coldStart: 'full',
      metrics: metrics(),
      nowMs: () => EPOCH_MS,
    }),
)

test('in memory: starts with full windows unless it is told otherwise', async () => {
  let nowMs = EPOCH_MS
  const limiter = new MemoryLimiter({ plan: PLAN, metrics: metrics(), nowMs: () => nowMs })
  const [denied] = await limiter.decide(demand('instagram', [want('user_media')]))
  assert.deepEqual([denied!.granted, denied!.waitMs], [0, 30_000])
  nowMs += 30_000
  const [granted] = await limiter.decide(demand('instagram', [want('user_media')]))
  assert.equal(granted!.granted, 1)
})

test('in memory: refuses a plan that cannot work when it is made', () => {
  const plan = { ...PLAN, global: { rate: 100, burst: 10 } }
  assert.throws(() => new MemoryLimiter({ plan, metrics: metrics() }), { code: 'LIMIT_PLAN', kind: 'usage' })
})

test('in memory: lifts a block', async () => {
  const limiter = new MemoryLimiter({ plan: PLAN, coldStart: 'full', metrics: metrics() })
  await limiter.learn({ platform: 'instagram' }, { blockMs: 60_000 })
  await limiter.forgive({ platform: 'instagram' })
  const [grant] = await limiter.decide(demand('instagram', [want('user_media')]))
  assert.equal(grant!.granted, 1)
})

test('records its calls and how much of each level is used', async () => {
  const recorded = metrics()
  let nowMs = EPOCH_MS
  const limiter = new MemoryLimiter({ plan: PLAN, coldStart: 'full', metrics: recorded, nowMs: () => nowMs })
  for (let second = 0; second < 120; second++) {
    nowMs += 1_000
    await limiter.decide(demand('youtube', [want('channel', 1)]))
  }
  recordLevels(recorded, await limiter.levels('youtube'), 0)
  const text = await recorded.registry.metrics()
  assert.match(text, /millrace_limiter_calls_total\{outcome="ok"\} 120/)
  assert.match(text, /millrace_limiter_call_duration_seconds_count 120/)
  // One a second, of 5 a second.
  const share = Number(/limit_utilisation_ratio\{level="platform:youtube"\} (\S+)/.exec(text)?.[1])
  assert.ok(Math.abs(share - 0.2) < 0.005, String(share))
})
