import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PlatformSwitch } from '../../src/pipeline/platform-switch.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { silent } from '../contract/source.ts'

function switched() {
  const because = new Map<string, string>([['instagram', 'it has no credentials']])
  const desk = {
    pause: (platform: string, why: string) => void because.set(platform, why),
    resume: (platform: string) => void because.delete(platform),
    get paused() {
      return [...because].map(([platform, why]) => ({ platform, because: why }))
    },
  }
  const metrics = createMetrics()
  const pauses = new PlatformSwitch(new Set(['tiktok']), { desk, metrics, log: silent })
  const gauge = async () => (await metrics.platform_paused.get()).values.map(({ value }) => value)
  return { pauses, gauge }
}

test('pauses and resumes, and the metric says so; the first reason stands', async () => {
  const { pauses, gauge } = switched()
  pauses.pause('tiktok', 'most of its jobs die')
  pauses.pause('tiktok', 'by hand')
  assert.equal(pauses.paused.get('tiktok'), 'most of its jobs die')
  assert.deepEqual(await gauge(), [1])
  pauses.resume('tiktok')
  pauses.resume('tiktok')
  assert.equal(pauses.paused.has('tiktok'), false)
  assert.deepEqual(await gauge(), [0])
})

test('a platform without credentials has nothing to go on with', () => {
  const { pauses } = switched()
  pauses.resume('instagram')
  assert.equal(pauses.paused.get('instagram'), 'it has no credentials')
})
