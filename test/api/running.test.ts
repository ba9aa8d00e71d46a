import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { createClient } from '@clickhouse/client'
import { Redis } from 'ioredis'
import { type ConfigInput, configSchema } from '../../src/config/schema.ts'
import { startDaemon } from '../../src/daemon.ts'
import { publish } from '../daemon/kafka-topics.ts'
import { Millrace } from '../daemon/process.ts'
import { realKafka } from '../daemon/real-configuration.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { silent } from '../timeseries/support.ts'
import { answerNothing, type HeldUpstream, startHeldUpstream } from './held-upstream.ts'

/** By id, so that its call is one that jobs share. */
const CHANNEL = 'UCabcdefghijklmnopqrstuv'

const platformsOf = ({ origin }: HeldUpstream): NonNullable<ConfigInput['platforms']> => ({
  youtube: { origin, private_origin: true, credentials: { key: 'a-key' } },
  instagram: { enabled: false },
  tiktok: { enabled: false },
})

/** A call is held for as long as the test takes, also when the machine stands still: it is never repeated. */
const PATIENT: NonNullable<ConfigInput['fetch']> = { timeout: '120s', read_timeout: '120s' }

/** Asks for a job of the channel, and follows what is said of it. */
async function ask(url: string) {
  const reply = await fetch(`${url}/v1/scrapes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ platform: 'youtube', creator_id: CHANNEL, job_type: 'profile' }),
  })
  assert.equal(reply.status, 202, await reply.clone().text())
  const place = url + (reply.headers.get('location') ?? '')
  const look = async () => {
    const found = await fetch(place)
    return (await found.json()) as { state: string; reason: string | null; finished_at: string | null }
  }
  const becomes = (state: string) =>
    poll(
      async () => {
        const found = await look()
        return found.state === state ? found : undefined
      },
      { withinMs: 60_000, what: `${place} ${state}` },
    )
  return { look, becomes }
}

test('a job is running from its first call on, and queued again while it waits for its next try: all in one process', async (t) => {
  const upstream = await startHeldUpstream(t)
  const folder = mkdtempSync(join(tmpdir(), 'millrace-running-'))
  const daemon = await startDaemon(
    configSchema.parse({
      data: folder,
      platforms: platformsOf(upstream),
      limits: { cold_start: 'full' },
      fetch: PATIENT,
      images: { enabled: false },
      rows: { batch_age: '20ms' },
      admin: { enabled: false },
      api: { enabled: true, port: 0 },
    }),
    { log: silent, input: { stream: new PassThrough() }, directory: folder, uvThreads: 4 },
  )
  t.after(async () => {
    await daemon.stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  const url = daemon.apiUrl ?? ''
  const first = await ask(url)
  const call = await upstream.call()
  assert.deepEqual(await first.becomes('running'), { ...(await first.look()), finished_at: null })
  answerNothing(call)
  const ended = await first.becomes('dead')
  assert.equal(ended.reason, 'not_found')
  assert.ok(ended.finished_at !== null)

  const second = await ask(url)
  const busy = await upstream.call()
  await second.becomes('running')
  busy.writeHead(503, { 'retry-after': '3600' }).end()
  await second.becomes('queued')
})

test('the same through Kafka and Redis, and nothing is noted of jobs that nobody asked the API for', async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const clickhouse = need(t, 'clickhouse')
  const kcat = need(t, 'kcat')
  if (broker === null || redis === null || clickhouse === null || kcat === null) return
  const upstream = await startHeldUpstream(t)
  const run = `running${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-running-'))
  const database = createClient({ url: clickhouse })
  const notes = new Redis(redis)
  const millraces: Millrace[] = []
  t.after(async () => {
    await Promise.all(millraces.map((one) => one.kill()))
    notes.disconnect()
    await database.command({ query: `DROP DATABASE IF EXISTS ${run}` })
    await database.close()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  writeFileSync(
    join(folder, 'millrace.yaml'),
    JSON.stringify({
      data: join(folder, 'data'),
      // Who stands still is neither put out of its group, which would bring its job again, nor without its Redis.
      kafka: { ...realKafka(run, broker), partitions: 1, session_timeout: '60s', rebalance_timeout: '60s' },
      redis: { url: redis, key_prefix: run, command_timeout: '30s' },
      clickhouse: { url: clickhouse, database: run },
      platforms: platformsOf(upstream),
      limits: { cold_start: 'full', quotas: { youtube: false } },
      fetch: PATIENT,
      images: { enabled: false },
      rows: { batch_age: '20ms' },
      admin: { port: 0 },
      api: { port: 0, metrics_port: 0 },
    } satisfies ConfigInput),
  )
  const start = async (command: string, says: RegExp) => {
    const one = new Millrace([command], { cwd: folder })
    millraces.push(one)
    return (await one.says(says))[1] ?? ''
  }
  // One after the other: both would bring the schema up to date.
  await start('run', /"admin":"(http:[^"]+)","msg":"millrace is running"/)
  const url = await start('api', /"url":"(http:[^"]+)","msg":"the analytics API listens"/)

  const asked = await ask(url)
  const call = await upstream.call()
  await asked.becomes('running')
  answerNothing(call)
  assert.equal((await asked.becomes('dead')).reason, 'not_found')

  const job = { platform: 'youtube', creator_id: CHANNEL, job_type: 'profile', job_id: 'of a producer' }
  await publish(kcat, broker, `${run}.jobs`, [{ key: `youtube:${CHANNEL}`, value: JSON.stringify(job) }])
  const unasked = await upstream.call()
  const begun = await notes.keys(`${run}:api:note:begun:*`)
  assert.equal(begun.length, 1, 'of the job that the API was asked for alone')
  answerNothing(unasked)
  await poll(
    async () => {
      const found = await fetch(`${url}/v1/scrapes/${encodeURIComponent('of a producer')}`)
      return found.ok || undefined
    },
    { withinMs: 60_000, what: 'the end of the other job' },
  )
})
