import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { z } from 'zod'
import type { CallContext, CallOptions, Endpoints, JobType } from '../../src/job/platform.ts'
import { instagram } from '../../src/platforms/instagram.ts'
import { tiktok } from '../../src/platforms/tiktok.ts'
import { youtube } from '../../src/platforms/youtube.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS, type Played } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { httpContext } from '../simulator/http-context.ts'
import { contextAround, jobOf } from './recorded-context.ts'

/** The most calls that one job made, by endpoint. */
async function mostCalls<E extends Endpoints>(
  { endpoints }: { readonly endpoints: E },
  job: JobType<z.ZodType, E>,
  ids: readonly string[],
  inner: CallContext<E>,
): Promise<Record<string, number>> {
  const most: Record<string, number> = {}
  for (const id of ids) {
    const calls: Record<string, number> = {}
    const context = contextAround(endpoints, (endpoint: string, options?: CallOptions) => {
      calls[endpoint] = (calls[endpoint] ?? 0) + 1
      return inner.get(endpoint, options)
    })
    await job.run(jobOf(job, id, {}, new Date().toISOString()), context)
    for (const [endpoint, count] of Object.entries(calls))
      most[endpoint] = Math.max(most[endpoint] ?? 0, count)
  }
  return most
}

test('the jobs of the built-in platforms make the calls that they declare', async (t) => {
  const simulator = createSimulator({ latencyMs: 0, jitterMs: 0, limits: OPEN_LIMITS })
  t.after(() => simulator.stop())
  const { port } = await simulator.start()
  const at = (name: Played) => ({
    origin: `http://127.0.0.1:${port}/${name}`,
    credentials: DEFAULT_CREDENTIALS[name],
  })
  const ids = (name: Played) => creatorIds(name, 1, 40, { fate: 'public', creators: 1000 })
  for (const type of ['full_profile_scrape', 'profile', 'media'] as const) {
    const most = {
      instagram: await mostCalls(
        instagram,
        instagram.jobs[type],
        ids('instagram'),
        httpContext(instagram, at('instagram')),
      ),
      tiktok: await mostCalls(tiktok, tiktok.jobs[type], ids('tiktok'), httpContext(tiktok, at('tiktok'))),
      youtube: await mostCalls(
        youtube,
        youtube.jobs[type],
        ids('youtube'),
        httpContext(youtube, at('youtube')),
      ),
    }
    assert.deepEqual(most, {
      instagram: instagram.jobs[type].calls,
      tiktok: tiktok.jobs[type].calls,
      youtube: youtube.jobs[type].calls,
    })
  }
})
