/**
 * What a job pays for its line of the log, and for its spans: microseconds of CPU each, alternating rounds in one process, medians.
 * `node native-bench/logging.ts [--rounds 7] [--jobs 20000] [--json]`. About ten seconds. The log goes to /dev/null, with twenty
 * secrets to look for in every line; spans go to an SDK that exports them nowhere.
 *
 * `--daemon`: what lines are in jobs a second: the pipeline of native-bench/engine.ts at full speed, `log.jobs: all` against `none`,
 * in turn, each in a process of its own. A minute more.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import { createLog, EACH } from '../src/telemetry/log.ts'
import { openTraces, Traces } from '../src/telemetry/traces.ts'
import { cpuEach, inTurn, perSecond } from './engine/in-turn.ts'
import { ContestantProcess } from './engine/process.ts'
import { UpstreamProcess } from './engine/upstream-process.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    jobs: { type: 'string', default: '20000' },
    daemon: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
})
const [rounds, jobs] = [values.rounds, values.jobs].map(Number)

const secrets = Array.from({ length: 20 }, (_, index) => `a-secret-of-${index}-and/more`)
const log = createLog({ level: 'info', pretty: false, secrets, file: '/dev/null' })
const quiet = createLog({ level: 'warn', pretty: false, secrets, file: '/dev/null' })
const fields = (offset: number) => ({
  ...{
    job_id: `millrace.jobs-3-${offset}`,
    platform: 'instagram',
    topic: 'millrace.jobs',
    partition: 3,
    offset,
  },
  ...{ attempt: 1, reason: null, duration_ms: 87 },
})
const headers = { traceparent: Buffer.from('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01') }
const record = {
  topic: 'millrace.jobs',
  partition: 3,
  offset: 1,
  timestampMs: 0,
  key: null,
  value: null,
  headers,
}

/** As a job with a picture is traced. */
function trace(traces: Traces | undefined, offset: number): void {
  const job = traces?.job({ ...record, offset }, { 'millrace.platform': 'instagram', 'millrace.job_id': 'a' })
  for (const name of ['permit', 'fetch', 'download', 'resize', 'store', 'insert'] as const) job?.step(name)()
  job?.end('done', { 'millrace.attempts': 1 })
}

const nobodys = openTraces('bench')
if (nobodys !== undefined) throw new Error('an SDK is loaded: run this without')
const sdk = new Traces(new BasicTracerProvider().getTracer('bench'))
const contestants: Readonly<Record<string, (offset: number) => void>> = {
  'log.jobs: none': () => {},
  'below the level': (offset) => quiet.info(fields(offset), 'job done'),
  'log.jobs: all': (offset) => log.info({ [EACH]: true, ...fields(offset) }, 'job done'),
  'a flood, folded': (offset) => log.info(fields(offset), 'job dead'),
  'spans, no SDK': (offset) => trace(nobodys, offset),
  'spans, an SDK': (offset) => trace(sdk, offset),
}
const micros = new Map(Object.keys(contestants).map((name): [string, number[]] => [name, []]))
for (let round = 0; round < rounds! + 1; round += 1) {
  for (const [name, work] of Object.entries(contestants)) {
    const cpu = process.cpuUsage()
    for (let offset = 0; offset < jobs!; offset += 1) work(offset)
    // What was put off is part of it.
    await sleep(20)
    const { user, system } = process.cpuUsage(cpu)
    // The first round warms up.
    if (round > 0) micros.get(name)!.push((user + system) / jobs!)
  }
}
const results = [...micros].map(([what, each]) => {
  const cpuMicros = middle(each)
  return { what, cpuMicros: Number(cpuMicros.toFixed(2)), perSecondAndCore: Math.round(1e6 / cpuMicros) }
})
const daemons = values.daemon ? await compareDaemons() : undefined
if (values.json) console.log(JSON.stringify({ node: process.version, jobs, rounds, results, daemons }))
else {
  console.table(results)
  if (daemons !== undefined) console.table(daemons)
}

/** `ratio`: of jobs a second, to the daemon without lines in the same round. */
async function compareDaemons() {
  const ROUND_MS = 3_000
  const ROUNDS = 9
  const names = ['daemon, from memory', 'daemon, a line a job'] as const
  await using upstream = await UpstreamProcess.start()
  const { origin } = upstream
  const [none, all] = await Promise.all(
    names.map((name) => ContestantProcess.start({ name, origin, sockets: 256 })),
  )
  const run = (name: string, durationMs: number) =>
    (name === none!.name ? none! : all!).round({ durationMs, concurrency: 256 })
  for (const name of names) await run(name, ROUND_MS)
  const figures = await inTurn(names, ROUNDS, (name) => run(name, ROUND_MS))
  await Promise.all([none!.stop(), all!.stop()])
  const floor = figures.get(names[0])!
  return [...figures].map(([name, each]) => ({
    what: `log.jobs: ${name === names[0] ? 'none' : 'all'}`,
    perSecond: Math.round(middle(each.map(perSecond))),
    cpuMicros: Number(middle(each.map(cpuEach)).toFixed(1)),
    ratio: Number(middle(each.map((one, turn) => perSecond(one) / perSecond(floor[turn]!))).toFixed(3)),
    cpuRatio: Number(middle(each.map((one, turn) => cpuEach(one) / cpuEach(floor[turn]!))).toFixed(3)),
  }))
}

function middle(each: readonly number[]): number {
  return [...each].sort((a, b) => a - b)[Math.floor(each.length / 2)] ?? Number.NaN
}
