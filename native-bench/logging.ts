/**
 * What a job pays for its line of the log, and for its spans: microseconds of CPU each, alternating rounds in one process, medians.
 * `node native-bench/logging.ts [--rounds 7] [--jobs 20000] [--json]`. About ten seconds. The log goes to /dev/null, with twenty
 * secrets to look for in every line; spans go to an SDK that exports them nowhere.
 *
 * What that is in jobs a second: at c µs of CPU a job without it (native-bench/engine.ts), c / (c + what is said here).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base'
import { createLog, EACH } from '../src/telemetry/log.ts'
import { openTraces, Traces } from '../src/telemetry/traces.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    jobs: { type: 'string', default: '20000' },
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
  const cpuMicros = [...each].sort((a, b) => a - b)[Math.floor(each.length / 2)] ?? Number.NaN
  return { what, cpuMicros: Number(cpuMicros.toFixed(2)), perSecondAndCore: Math.round(1e6 / cpuMicros) }
})
if (values.json) console.log(JSON.stringify({ node: process.version, jobs, rounds, results }))
else console.table(results)
