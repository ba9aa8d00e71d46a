/**
 * The whole pipeline as a share of a bare `undici.request` loop, and the fetch engine alone: same upstream, same number of sockets, the
 * same request and reply, one request a job. `node native-bench/engine.ts [--services] [--json] [--rounds 9] [--round-ms 1500]
 * [--sockets 256]`. With `--services` the pipeline too that takes its jobs from Kafka and its permits from Redis, both started for
 * it or named by MILLRACE_TEST_KAFKA and MILLRACE_TEST_REDIS. Under two minutes.
 *
 * Each contestant is a process of its own, and so is the upstream; they do rounds in turn, and what counts is the median of each
 * round's ratio to the bare loop's round. CPU a request (all threads of the contestant, none of Kafka's or Redis') is the figure that holds on a machine
 * that others use too; requests a second also measure those, and the services, which share its cores.
 */
import { cpus, loadavg } from 'node:os'
import { parseArgs } from 'node:util'
import { provide } from '../test/services/provide.ts'
import type { Figures, Name } from './engine/contest.ts'
import { JOBS_TOPIC } from './engine/daemon.ts'
import { cpuEach, inTurn, perSecond } from './engine/in-turn.ts'
import { JobsTopic } from './engine/jobs-topic.ts'
import { ContestantProcess } from './engine/process.ts'
import { UpstreamProcess } from './engine/upstream-process.ts'

const { values } = parseArgs({
  options: {
    services: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '9' },
    'round-ms': { type: 'string', default: '1500' },
    sockets: { type: 'string', default: '256' },
  },
})
const [rounds, durationMs, sockets] = [values.rounds, values['round-ms'], values.sockets].map(Number)
const round = { durationMs: durationMs!, concurrency: sockets! }
const WARM_UP_MS = 3_000
/** More than a contestant gets through in a round. */
const JOBS_AHEAD = 60_000

const FLOOR: Name = 'undici.request'
const WITH_SERVICES: Name = 'daemon, Kafka and Redis'

await using started = new AsyncDisposableStack()

const { origin } = started.use(await UpstreamProcess.start())

const contestants: ContestantProcess[] = []
const start = async (name: Name, services?: { kafka: string; redis: string }) => {
  const contestant = await ContestantProcess.start({ name, origin, sockets: sockets!, services })
  started.defer(() => contestant.stop())
  contestants.push(contestant)
}
for (const name of [FLOOR, 'fetch engine', 'daemon, from memory'] as const) await start(name)

let jobs: JobsTopic | undefined
if (values.services) {
  const redis = started.adopt(await provide('redis'), ({ stop }) => stop())
  const kafka = started.adopt(await provide('kafka'), ({ stop }) => stop())
  await start(WITH_SERVICES, { kafka: kafka.address, redis: redis.address })
  // After the contestant, who has made the topic, and stopped before it.
  jobs = started.adopt(new JobsTopic(kafka.address, JOBS_TOPIC), (topic) => topic.stop())
  await jobs.start()
  await jobs.publish(JOBS_AHEAD)
}

for (const contestant of contestants) await run(contestant, WARM_UP_MS)
const byName = new Map(contestants.map((contestant) => [contestant.name, contestant]))
const all = await inTurn([...byName.keys()], rounds!, (name) => run(byName.get(name)!, round.durationMs))

const floor = all.get(FLOOR)!
const report = {
  machine: `${cpus()[0]?.model ?? 'unknown'} × ${cpus().length}`,
  load: Number(loadavg()[0]!.toFixed(1)),
  node: process.version,
  rounds,
  roundMs: durationMs,
  sockets,
  results: [...all].map(([name, figures]) => ({
    name,
    perSecond: Math.round(median(figures.map(perSecond))),
    cpuMicros: Number(median(figures.map(cpuEach)).toFixed(1)),
    // Above 1: faster, or less CPU, than the bare loop in the same round.
    ratio: ratioOf(figures.map((one, turn) => perSecond(one) / perSecond(floor[turn]!))),
    cpuRatio: ratioOf(figures.map((one, turn) => cpuEach(floor[turn]!) / cpuEach(one))),
    rssMB: Math.round(Math.max(...figures.map(({ rssBytes }) => rssBytes)) / 1e6),
  })),
}
if (values.json) console.log(JSON.stringify(report))
else {
  console.log(
    `${report.machine}, load ${report.load}, Node ${report.node}; ${rounds} rounds of ${durationMs} ms, ${sockets} sockets, medians`,
  )
  console.table(report.results)
}

/** Whoever takes jobs from Kafka finds enough of them. */
async function run(contestant: ContestantProcess, ms: number): Promise<Figures> {
  const figures = await contestant.round({ ...round, durationMs: ms })
  if (contestant.name === WITH_SERVICES) {
    if (figures.requests > JOBS_AHEAD * 0.8) throw new Error('the jobs ran out: make rounds shorter')
    await jobs?.publish(figures.requests)
  }
  return figures
}

function ratioOf(ratios: readonly number[]): number {
  return Number(median(ratios).toFixed(2))
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
