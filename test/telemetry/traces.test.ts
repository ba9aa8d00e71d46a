import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createClient } from '@clickhouse/client'
import { propagation, SpanStatusCode, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { configSchema } from '../../src/config/schema.ts'
import { startDaemon } from '../../src/daemon.ts'
import { creatorIds } from '../../src/simulator/creators.ts'
import { DEFAULT_CREDENTIALS, OPEN_LIMITS } from '../../src/simulator/options.ts'
import { createSimulator } from '../../src/simulator/simulator.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { openTraces } from '../../src/telemetry/traces.ts'
import { publish, readTopic } from '../daemon/kafka-topics.ts'
import { realKafka } from '../daemon/real-configuration.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'

const SEED = 5
const CREATORS = 1_000
/** What the producer was doing. */
const PRODUCER = { trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b7169203331' }

/** A real SDK that keeps its spans in memory, as a user's would be loaded: before the daemon. */
function loadSdk(t: TestContext): InMemorySpanExporter {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  trace.setGlobalTracerProvider(provider)
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  t.after(async () => {
    await provider.shutdown()
    trace.disable()
    propagation.disable()
  })
  return exporter
}

test('without an SDK nothing is traced', () => {
  assert.equal(openTraces('1'), undefined)
})

test('a job is one span below its producer’s, with its steps below it, and results and follow-up jobs carry it on', async (t) => {
  const broker = need(t, 'kafka')
  const clickhouse = need(t, 'clickhouse')
  const kcat = need(t, 'kcat')
  if (broker === null || clickhouse === null || kcat === null) return
  const exporter = loadSdk(t)
  const run = `traces${process.pid}${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-traces-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const simulator = createSimulator({
    ...{ seed: SEED, creators: CREATORS, latencyMs: 1, jitterMs: 0, limits: OPEN_LIMITS },
  })
  const { port } = await simulator.start()
  t.after(() => simulator.stop())
  const database = createClient({ url: clickhouse })
  t.after(async () => {
    await database.command({ query: `DROP DATABASE IF EXISTS ${run}` })
    await database.close()
  })
  const platform = { origin: `http://127.0.0.1:${port}/youtube`, private_origin: true }
  const config = configSchema.parse({
    data: join(folder, 'data'),
    // Nothing is delivered or called again, nor a picture given up, because the machine stood still.
    kafka: { ...realKafka(run, broker), partitions: 1, session_timeout: '60s', rebalance_timeout: '60s' },
    fetch: { timeout: '120s', read_timeout: '120s' },
    clickhouse: { url: clickhouse, database: run },
    store: { kind: 'folder', path: join(folder, 'store') },
    limits: { share: 1, cold_start: 'full' },
    platforms: { youtube: { ...platform, credentials: { ...DEFAULT_CREDENTIALS.youtube } } },
    images: { private_hosts: [`127.0.0.1:${port}`], threads: 1, work_timeout: '2m' },
    admin: { enabled: false },
  })
  const daemon = await startDaemon(config, {
    log: createLog({ level: 'silent', pretty: false, secrets: [] }),
    input: { file: '' },
    directory: folder,
    uvThreads: 4,
  })
  t.after(() => daemon.stop())

  const [found = ''] = creatorIds('youtube', SEED, 1, { creators: CREATORS })
  const [missing = ''] = creatorIds('youtube', SEED, 1, { fate: 'missing', creators: CREATORS })
  const record = (job_id: string, creator_id: string, fields: object = {}) => ({
    key: job_id,
    value: JSON.stringify({
      ...{ platform: 'youtube', creator_id, job_type: 'full_profile_scrape', job_id },
      ...{ params: { pictures_max: 1 }, ...fields },
    }),
  })
  const traceparent = `00-${PRODUCER.trace}-${PRODUCER.span}-01`
  // Of several pages the first job reads one, and hands the next over to a job that follows.
  const many = creatorIds('youtube', SEED, 7, { creators: CREATORS }).at(-1)!
  const pages = { job_type: 'media', params: { pages_max: 1, rest: true } }
  const records = [record('found', found), record('missing', missing), record('paged', many, pages)]
  await publish(kcat, broker, `${run}.jobs`, records, { traceparent, tracestate: 'vendor=x' })
  const jobs = await poll(
    () => {
      // Without those whose job was handed on, to be repeated.
      const all = exporter
        .getFinishedSpans()
        .filter(({ name }) => name === 'job youtube')
        .filter(({ attributes }) => ['done', 'dead'].includes(String(attributes['millrace.outcome'])))
      const ids = new Set(all.map(({ attributes }) => attributes['millrace.job_id']))
      return ['found', 'missing', 'paged', 'paged/0'].every((id) => ids.has(id)) ? all : undefined
    },
    { withinMs: 120_000, what: 'all jobs have a span' },
  )
  const spanOf = (id: string) => jobs.find(({ attributes }) => attributes['millrace.job_id'] === id)!
  const [done, dead, paged] = [spanOf('found'), spanOf('missing'), spanOf('paged')]

  for (const [span, parent] of [
    ...[done, dead, paged].map((span) => [span, PRODUCER.span] as const),
    [spanOf('paged/0'), paged.spanContext().spanId] as const,
  ]) {
    assert.equal(span.spanContext().traceId, PRODUCER.trace)
    assert.equal(span.parentSpanContext?.spanId, parent)
    assert.equal(span.spanContext().traceState?.serialize(), 'vendor=x')
    assert.equal(span.attributes['messaging.destination.name'], `${run}.jobs`)
  }
  assert.equal(done.attributes['millrace.outcome'], 'done')
  assert.equal(done.status.code, SpanStatusCode.UNSET)
  assert.equal(dead.attributes['millrace.reason'], 'not_found')
  assert.equal(dead.status.code, SpanStatusCode.ERROR)

  const steps = stepsOf(exporter, done)
  const names = new Set(steps.map(({ name }) => name))
  assert.deepEqual(
    names,
    new Set(['permit', 'fetch', 'download', 'wait', 'resize', 'store', 'insert']),
    [...names].join(),
  )
  for (const { startTime, endTime } of steps) assert.ok(before(startTime, endTime))
  // In the order in which a job lives.
  const firstOf = (name: string) => steps.find((step) => step.name === name)!
  assert.ok(before(firstOf('permit').endTime, firstOf('fetch').startTime))
  assert.ok(before(firstOf('fetch').endTime, firstOf('resize').startTime))
  assert.ok(before(firstOf('store').endTime, firstOf('insert').startTime))

  // Further pages are for another day: what is in hand ends, while there is a database to write to.
  await daemon.stop()
  const results = await readTopic(kcat, broker, `${run}.results`)
  for (const { payload, headers } of results) {
    const span = spanOf((JSON.parse(payload) as { job_id: string }).job_id)
    // Of further pages there may be jobs that have not ended yet.
    if (span === undefined) continue
    assert.equal(headers.traceparent, `00-${PRODUCER.trace}-${span.spanContext().spanId}-01`)
    assert.equal(headers.tracestate, 'vendor=x')
  }
  assert.ok(results.length >= 4)
  // A dead letter is what the producer sent, to the byte.
  const [letter] = await readTopic(kcat, broker, `${run}.dead`)
  assert.equal(letter?.headers.traceparent, traceparent)
  assert.equal(letter?.headers.tracestate, 'vendor=x')
})

function stepsOf(exporter: InMemorySpanExporter, job: ReadableSpan): ReadableSpan[] {
  const { spanId } = job.spanContext()
  return exporter.getFinishedSpans().filter(({ parentSpanContext }) => parentSpanContext?.spanId === spanId)
}

function before(one: ReadableSpan['startTime'], other: ReadableSpan['startTime']): boolean {
  // The SDK's clock is good for microseconds.
  return one[0] * 1e9 + one[1] <= other[0] * 1e9 + other[1] + 1e6
}
