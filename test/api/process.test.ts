import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createClient } from '@clickhouse/client'
import type { ConfigInput } from '../../src/config/schema.ts'
import { publish, readTopic } from '../daemon/kafka-topics.ts'
import { Millrace } from '../daemon/process.ts'
import { realKafka } from '../daemon/real-configuration.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'
import { EventClient } from './event-client.ts'
import { resultOf } from './support.ts'

const WITHIN_MS = 60_000

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-api-process-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  return folder
}

test('millrace api beside Kafka, Redis and ClickHouse: serves, tells what comes, takes in jobs, and ends in good order', async (t) => {
  const broker = need(t, 'kafka')
  const redis = need(t, 'redis')
  const clickhouse = need(t, 'clickhouse')
  const kcat = need(t, 'kcat')
  if (broker === null || redis === null || clickhouse === null || kcat === null) return
  const run = `api${Date.now().toString(36)}`
  const folder = folderOf(t)
  const database = createClient({ url: clickhouse })
  const millraces: Millrace[] = []
  t.after(async () => {
    await Promise.all(millraces.map((one) => one.kill()))
    await database.command({ query: `DROP DATABASE IF EXISTS ${run}` })
    await database.close()
  })
  const config: ConfigInput = {
    kafka: { ...realKafka(run, broker), partitions: 1 },
    // Longer than a machine stands still, after which a deadline passes before the reply is read that lies there.
    redis: { url: redis, key_prefix: run, command_timeout: '30s' },
    clickhouse: { url: clickhouse, database: run },
    data: join(folder, 'data'),
    api: { port: 0, metrics_port: 0 },
  }
  writeFileSync(join(folder, 'millrace.yaml'), JSON.stringify(config))
  const start = async () => {
    const one = new Millrace(['api'], { cwd: folder })
    millraces.push(one)
    const [, url = ''] = await one.says(/"url":"(http:[^"]+)","msg":"the analytics API listens"/)
    const [, metrics = ''] = await one.says(/"url":"(http:[^"]+)","msg":"metrics of the analytics API"/)
    return { one, url, metrics }
  }
  /** Publishes results as a daemon does, and returns their ids. */
  let published = 0
  const finish = async (count: number, jobId = () => `${run}-${published++}`) => {
    const results = Array.from({ length: count }, () => resultOf({ job_id: jobId(), rows: 0 }))
    const records = results.map((result) => ({
      key: `${result.platform}:${result.creator_id}`,
      value: JSON.stringify(result),
    }))
    await publish(kcat, broker, `${run}.results`, records)
    return results.map(({ job_id }) => job_id)
  }

  const { one, url, metrics } = await start()
  const client = new EventClient(`${url}/v1/stream?kind=job`)
  t.after(() => client.close())
  await client.connect()

  await t.test('it says where it listens, is alive and ready', async () => {
    assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { alive: true })
    await poll(
      async () => {
        const reply = await fetch(`${url}/readyz`)
        assert.deepEqual([reply.status, await reply.json()], [200, { ready: true, reasons: [] }])
        return true
      },
      { withinMs: WITHIN_MS, what: 'nothing to remark' },
    )
    const page = await fetch(`${url}/v1/creators`)
    assert.deepEqual([page.status, ((await page.json()) as { items: unknown[] }).items], [200, []])
  })

  await t.test('its metrics stand on a port of their own, and no daemon’s are among them', async () => {
    const lines = [
      /^millrace_api_request_duration_seconds_count\{route="\/v1\/creators",status="2xx"\} 1$/m,
      /^millrace_api_stream_clients 1$/m,
      /^millrace_api_ready 1$/m,
      /^millrace_build_info\{version="[\d.]+"\} 1$/m,
      /^process_resident_memory_bytes \d+$/m,
      /^millrace_event_loop_delay_seconds\{stat="p99"\} /m,
    ]
    // A database that is slow for a moment makes it unready until the next look.
    const text = await poll(
      async () => {
        const text = await (await fetch(metrics)).text()
        for (const line of lines) assert.match(text, line)
        return text
      },
      { withinMs: WITHIN_MS, what: 'all lines of its metrics' },
    )
    assert.doesNotMatch(text, /millrace_(?!api_|build_info|event_loop|memory_limit)/)
    const open = await fetch(metrics, { headers: { accept: 'application/openmetrics-text' } })
    assert.match(await open.text(), /# EOF\n$/)
    const own = await fetch(`${url}/metrics`)
    assert.equal(own.status, 404)
    await own.text()
    const elsewhere = await fetch(metrics.replace('/metrics', '/'))
    assert.equal(elsewhere.status, 404)
    await elsewhere.text()
  })

  await t.test('a result on its topic reaches who listens', async () => {
    const ids = await finish(20)
    await client.until(() => client.got.length >= 20)
    assert.deepEqual(
      client.got.map(({ job_id }) => job_id),
      ids,
    )
  })

  await t.test('a job that is asked for stands on the jobs topic, and its result is its state', async () => {
    const reply = await fetch(`${url}/v1/scrapes`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ platform: 'youtube', creator_id: '@Nasa', job_type: 'profile', priority: 9 }),
    })
    const { jobs } = (await reply.json()) as { jobs: { job_id: string; href: string }[] }
    assert.equal(reply.status, 202)
    const [job] = jobs
    const [record, ...others] = await readTopic(kcat, broker, `${run}.jobs`)
    assert.deepEqual([others.length, record?.key], [0, 'youtube:@Nasa'])
    assert.deepEqual(record?.headers, { 'millrace-watched': '1' })
    const { requested_at, ...value } = JSON.parse(record?.payload ?? '') as Record<string, unknown>
    assert.deepEqual(value, {
      ...{ platform: 'youtube', creator_id: '@Nasa', job_type: 'profile', priority: 9 },
      job_id: job?.job_id,
    })
    assert.ok(Math.abs(Date.parse(String(requested_at)) - Date.now()) < WITHIN_MS)
    const state = async () => (await (await fetch(url + job!.href)).json()) as { state: string }
    assert.equal((await state()).state, 'queued')
    await finish(1, () => job!.job_id)
    await poll(async () => ((await state()).state === 'done' ? true : undefined), {
      ...{ withinMs: WITHIN_MS, what: 'the job is done' },
    })
    await client.until(() => client.got.at(-1)?.job_id === job?.job_id)
  })

  await t.test('a second one on the same port says so in one line', async () => {
    const env = { MILLRACE_API__PORT: new URL(url).port }
    const { code, stderr } = await new Millrace(['api'], { cwd: folder, env }).ended
    assert.equal(code, 1)
    assert.match(stderr, /^millrace: api\.port \d+ on 127\.0\.0\.1: .*EADDRINUSE/m)
    assert.doesNotMatch(stderr, /\n\s+at /)
  })

  await t.test(
    'SIGTERM ends streams, lets a request end that is under way, and the exit code is 0',
    async () => {
      const body = JSON.stringify({ platform: 'tiktok', creator_id: 'nasa', job_type: 'profile' })
      const headers = {
        'content-type': 'application/json',
        'content-length': body.length,
        expect: '100-continue',
      }
      const asked = request(`${url}/v1/scrapes`, { method: 'POST', headers })
      const answered = once(asked, 'response')
      asked.flushHeaders()
      // The server has the request, and waits for its body.
      await once(asked, 'continue')
      const ended = client.ended()
      const stopped = one.stop()
      await one.says(/stopping: letting requests end/)
      assert.equal(await ended, 'whole')
      asked.end(body)
      const [reply] = await answered
      assert.equal(reply.statusCode, 202)
      reply.resume()
      const { code, stderr } = await stopped
      assert.equal(code, 0, stderr.slice(-2_000))
    },
  )

  await t.test('what came while it was away is told by the next one, and nothing twice', async () => {
    const before = client.got.length
    const missed = await finish(10)
    const next = await start()
    client.url = `${next.url}/v1/stream?kind=job`
    await client.connect()
    const after = await finish(5)
    const expected = [...missed, ...after]
    await client.until(() => client.got.length >= before + expected.length)
    assert.deepEqual(
      client.got.slice(before).map(({ job_id }) => job_id),
      expected,
    )
    assert.equal(new Set(client.got.map(({ id }) => id)).size, client.got.length)
    client.close()
    assert.equal((await next.one.stop()).code, 0)
  })
})

test('a configuration that it cannot go by is one clear line', async (t) => {
  const cwd = folderOf(t)
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.after(() => taken.close())
  const { port } = taken.address() as { port: number }
  const away = { MILLRACE_CLICKHOUSE__URL: 'http://127.0.0.1:1', MILLRACE_KAFKA__BROKERS: '127.0.0.1:1' }
  const share = { MILLRACE_LIMITS__SHARE: '1/2', MILLRACE_API__METRICS_PORT: '0' }
  const wrong: [Record<string, string>, number, RegExp][] = [
    [{}, 2, /^millrace: api: expected `clickhouse` and `kafka`.*set api\.enabled/m],
    [{ MILLRACE_API__HOST: '0.0.0.0' }, 2, /api\.host: found 0\.0\.0\.0 without api\.auth/],
    [
      { ...away, ...share, MILLRACE_API__METRICS_PORT: String(port) },
      1,
      /^millrace: api\.metrics_port \d+ on 127\.0\.0\.1: another process .* set api\.metrics_port/m,
    ],
    [{ ...away, ...share }, 3, /^millrace: .*ClickHouse.*127\.0\.0\.1:1/m],
  ]
  await Promise.all(
    wrong.map(async ([env, exitCode, line]) => {
      const { code, stderr } = await new Millrace(['api'], { cwd, env }).ended
      assert.equal(code, exitCode, stderr)
      assert.match(stderr, line)
      assert.equal(stderr.split('\n').filter((text) => text.startsWith('millrace: ')).length, 1, stderr)
      assert.doesNotMatch(stderr, /\n\s+at /, 'no stack')
    }),
  )
})
