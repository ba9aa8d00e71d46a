import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { type ClickHouseClient, ClickHouseLogLevel, createClient } from '@clickhouse/client'
import type { OracleReport } from '../../src/simulator/oracle.ts'
import { publish } from '../daemon/kafka-topics.ts'
import { Millrace } from '../daemon/process.ts'
import {
  PARTITIONS,
  type RealLimits,
  realConfiguration,
  realKafka,
  simulatorArgs,
} from '../daemon/real-configuration.ts'
import { realJobs } from '../daemon/real-jobs.ts'
import { processesUsing } from '../services/left-over.ts'
import { poll } from '../services/poll.ts'
import { killUsersOf, reaperPid, removeWithUs, tieToUs } from '../services/reaper.ts'
import { type Books, closeBooks, jobsWithResult } from './books.ts'
import { uncommitted } from './commits.ts'
import { type Arena, type Fault, type FaultName, makeFault } from './faults.ts'
import { Fleet, type Stopped } from './fleet.ts'
import { type Parts, startParts } from './parts.ts'
import { planFaults } from './plan.ts'
import { Progress } from './progress.ts'

export interface ChaosOptions {
  readonly seed: number
  readonly jobs: number
  readonly faults: number
  readonly daemons: number
  /** Jobs a second of all daemons together, about, which the limits are made for. */
  readonly rate: number
  /** After which a daemon that does not answer is no member any more. */
  readonly sessionMs: number
  /** How long the group has to be at work before a fault counts as recovered from; the rate before the next one is taken from it. */
  readonly calmMs: number
  /** Where daemons' logs are to stay; undefined: nowhere. */
  readonly logs?: string | undefined
  readonly signal: AbortSignal
  /** Takes a line about what happens. */
  readonly say: (line: string) => void
}

/** A fault that was, and what came of it. */
export interface Suffered {
  readonly name: FaultName
  readonly whom: string
  /** Since the first job was published. */
  readonly atMs: number
  readonly lastedMs: number
  /** Results a second. */
  readonly rateBefore: number
  readonly recoveredMs: number
}

export interface Summary {
  readonly seed: number
  readonly jobs: number
  /** From the first job published to the last result. */
  readonly tookMs: number
  readonly faults: readonly Suffered[]
  readonly books: Books
  readonly daemons: {
    readonly started: number
    readonly killed: number
    readonly stopped: readonly Stopped[]
    readonly peakRssBytes: number
    readonly worstLoopP99Ms: number
  }
}

/** Of the simulator, whose creators and faults are always the same; what a run varies is where ours strike. */
const WORLD = {
  seed: 11,
  errorRate: 0.01,
  /** Numbers stand still, so that a job that is worked off twice has the same to tell. */
  timeScale: 0,
}
const DRAIN_MS = 20_000
const RECOVERED_WITHIN_MS = 60_000
/** Jobs published and not done, in seconds of work: longer than any fault that leaves the group at work. */
const BACKLOG_S = 15
/** So many times the jobs are there to be published: on a slow machine the group works on while faults last longer. */
const SPARE = 3
/** The last jobs, those that a fault has sent to a retry topic, and every partition's last commit. */
const LAST_RESULTS_WITHIN_MS = 120_000
const COMMITTED_WITHIN_MS = 30_000

/**
 * Works off jobs by real daemons on real services of its own while one fault after the other is done to them, then closes the
 * books. The seed decides what happens; how it interleaves with everything else differs from run to run. Throws when
 * something does not recover, or the books do not balance; in every case nothing is left behind.
 */
export async function runChaos(options: ChaosOptions): Promise<Summary> {
  const outer = process.env.TMPDIR
  const folder = mkdtempSync(join(realpathSync(tmpdir()), 'millrace-chaos-'))
  // Marks all processes of the run as its own.
  process.env.TMPDIR = folder
  const folderGone = removeWithUs(folder)
  killUsersOf(folder)
  const leave = async () => {
    if (outer === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = outer
    const left = await leftIn(folder)
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    folderGone()
    return left
  }
  let summary: Summary
  try {
    summary = await run(folder, options)
  } catch (error) {
    await leave()
    throw error
  }
  const left = await leave()
  if (left.length > 0) throw new Error(`left behind: ${left.join('; ')}`)
  return summary
}

async function run(folder: string, options: ChaosOptions): Promise<Summary> {
  const { say } = options
  await using ends = new AsyncDisposableStack()
  const id = `chaos${Date.now().toString(36)}`
  const parts = ends.use(await startParts(folder))
  options.signal.throwIfAborted()

  const limits = limitsFor(options.rate)
  const world = { ...WORLD, creators: options.jobs * SPARE * 2 }
  const simulator = new Millrace(simulatorArgs(limits, world))
  ends.defer(() => simulator.kill().then(() => {}))
  if (simulator.child.pid !== undefined) ends.defer(tieToUs(simulator.child.pid))
  const [upstream = ''] = await simulator.says(/http:\/\/[\d.:]+/)

  const objects = ends.adopt(storeClient(parts), (client) => client.destroy())
  await objects.send(new CreateBucketCommand({ Bucket: id }))
  const database = ends.adopt(databaseClient(parts), (client) => client.close())

  const { kafka, redis, clickhouse, s3, kcat } = parts
  const addresses = {
    run: id,
    broker: kafka.address,
    redis: redis.address,
    clickhouse: clickhouse.address,
    s3: s3.address,
    upstream,
  }
  const configuration = realConfiguration(addresses, limits, 'empty', {
    kafka: { ...realKafka(id, kafka.address), session_timeout: `${options.sessionMs}ms` },
    drain_deadline: `${DRAIN_MS}ms`,
    // Every profile has a picture: small ones, so that the cores are left to what this is about.
    variants: [{ name: 'thumb', width: 96, height: 96, fit: 'cover' }],
    // So that one call in a hundred that fails never makes a job end otherwise than expected.
    fetch: { timeout: '8s', connect_timeout: '8s', read_timeout: '8s', attempts: 8 },
  })
  const fleet = ends.use(new Fleet({ folder, configuration, drainMs: DRAIN_MS, logs: options.logs }))
  const signal = AbortSignal.any([options.signal, fleet.lost])
  await Promise.all(Array.from({ length: options.daemons }, (_, place) => fleet.start(place)))
  say(
    `${options.daemons} daemons and their services run; the store’s disk is ${parts.disk.how} when it is full`,
  )

  const every = { malformedEvery: 50, missingEvery: 40, picturesEvery: 40 }
  const all = realJobs({
    run: id,
    jobs: options.jobs * SPARE,
    seed: world.seed,
    creators: world.creators,
    handles: true,
    ...every,
  })
  const topic = `${id}.jobs`
  const progress = ends.use(new Progress(kafka.address, `${id}.results`, PARTITIONS))
  let published = 0
  const publishUpTo = async (count: number) => {
    const to = Math.min(all.length, Math.max(count, published))
    if (to > published) await publish(kcat, kafka.address, topic, all.slice(published, to))
    published = to
  }
  const startedAtMs = performance.now()
  const arena: Arena = { parts, fleet, objects, database, run: id, sessionMs: options.sessionMs }
  const suffered: Suffered[] = []
  const backlog = options.rate * BACKLOG_S
  await publishUpTo(backlog)
  for (const planned of planFaults(options.seed, options)) {
    if (progress.jobs >= all.length) throw new Error('all jobs were done before the last fault began')
    await poll(
      async () => {
        await publishUpTo(progress.jobs + backlog)
        return progress.jobs >= planned.atJobs || undefined
      },
      { withinMs: RECOVERED_WITHIN_MS * 2, everyMs: 200, signal, what: `${planned.atJobs} jobs are done` },
    ).catch((error: unknown) => complain(fleet, error))
    await publishUpTo(progress.jobs + backlog)
    const fault = makeFault(planned.name, arena, planned.draw)
    const feed = async () => {
      if (published - progress.jobs < backlog / 2) await publishUpTo(progress.jobs + backlog)
    }
    suffered.push(await suffer(fault, { ...options, signal, fleet, progress, startedAtMs, feed }))
    // What a fault has made the daemons do again must not be taken for progress.
    const results = progress.results
    progress.repeated = Math.max(0, results - (await jobsWithResult(kcat, kafka.address, id)))
  }
  await publishUpTo(options.jobs)
  const sent = all.slice(0, published)

  await poll(() => progress.jobs >= sent.length || undefined, {
    withinMs: LAST_RESULTS_WITHIN_MS + (sent.length / options.rate) * 1_000,
    everyMs: 500,
    signal,
    what: 'a result for each job',
  }).catch((error: unknown) => complain(fleet, error))
  await poll(async () => (await jobsWithResult(kcat, kafka.address, id)) >= sent.length || undefined, {
    withinMs: LAST_RESULTS_WITHIN_MS,
    everyMs: 1_000,
    signal,
    what: 'a result for each different job',
  }).catch((error: unknown) => complain(fleet, error))
  const tookMs = performance.now() - startedAtMs

  await poll(async () => (await uncommitted(kafka.address, id)) === 0 || undefined, {
    withinMs: COMMITTED_WITHIN_MS,
    everyMs: 500,
    signal,
    what: 'every record is committed',
  }).catch((error: unknown) => complain(fleet, error))
  const oracle = (await (await fetch(`${upstream}/oracle`)).json()) as OracleReport
  await Promise.all(fleet.daemons.map((daemon) => fleet.stop(daemon)))
  const { started, killed, stopped, peakRssBytes, worstLoopP99Ms } = fleet
  return {
    seed: options.seed,
    jobs: sent.length,
    tookMs,
    faults: suffered,
    books: await closeBooks({ kcat, broker: kafka.address, database, run: id, sent, oracle }),
    daemons: { started, killed, stopped, peakRssBytes, worstLoopP99Ms },
  }
}

/** Does the fault, heals it, and waits until the group is at work again. */
async function suffer(
  fault: Fault,
  run: ChaosOptions & { fleet: Fleet; progress: Progress; startedAtMs: number; feed: () => Promise<void> },
): Promise<Suffered> {
  const { fleet, progress, signal, say } = run
  const beganMs = performance.now()
  // What an earlier fault has held up comes all at once: no more than the limits sustain is what there is to come back to.
  const rateBefore = Math.min(run.rate, progress.rateBefore(beganMs, run.calmMs))
  const atMs = beganMs - run.startedAtMs
  const named = `${(atMs / 1000).toFixed(1).padStart(6)} s  ${fault.name}${fault.whom === '' ? '' : ` (${fault.whom})`}`
  await fault.do()
  const doneMs = performance.now()
  await sleep(fault.lastsMs, undefined, { signal })
  await fault.heal()
  const healedMs = performance.now()
  const overMs = fault.overOnceDone ? doneMs : healedMs
  const recovered = async () => {
    // On a slow machine a fault lasts longer than what was published for it.
    await run.feed()
    return progress.settled(rateBefore / 2, overMs, run.calmMs)
  }
  const recoveredMs = await poll(recovered, {
    withinMs: RECOVERED_WITHIN_MS,
    everyMs: 100,
    signal,
    what: `${fault.name}: recovery to half of ${rateBefore.toFixed(0)} results a second`,
  }).catch((error: unknown) => complain(fleet, error))
  const lastedMs = healedMs - beganMs
  const lasted = `${(lastedMs / 1000).toFixed(1)} s, recovered after ${(recoveredMs / 1000).toFixed(1)} s`
  say(`${named}: ${lasted}; ${rateBefore.toFixed(0)} results a second before, ${progress.jobs} jobs so far`)
  return { name: fault.name, whom: fault.whom, atMs, lastedMs, rateBefore, recoveredMs }
}

/** Adds to an error what the daemons say is wrong with them. */
async function complain(fleet: Fleet, error: unknown): Promise<never> {
  const message = error instanceof Error ? error.message : String(error)
  throw new Error(`${message}\n${await fleet.complaints()}`, { cause: error })
}

/** Buckets a little above the rate, and windows that the endpoint most in use fills. */
function limitsFor(rate: number): RealLimits {
  const each = rate / 3
  return {
    global: { rate: rate * 1.15, burst: Math.ceil(rate * 1.5) },
    platform: { rate: each * 1.1, burst: Math.ceil(each * 2) },
    windowMs: 4_000,
    windowLimit: Math.ceil(each * 4.2),
  }
}

function storeClient({ s3 }: Parts): S3Client {
  const { origin, username, password } = new URL(s3.address)
  return new S3Client({
    endpoint: origin,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId: username, secretAccessKey: password },
  })
}

function databaseClient({ clickhouse }: Parts): ClickHouseClient {
  // Idle connections do not outlive a server that is killed: the first question after that must not be the one to find out.
  const options = { keep_alive: { enabled: false }, log: { level: ClickHouseLogLevel.OFF } }
  return createClient({ url: clickhouse.address, database: 'default', ...options })
}

/** Processes and files of the run that should have gone with it. */
async function leftIn(folder: string): Promise<string[]> {
  const left = () => [
    ...processesUsing(folder)
      .filter(({ pid }) => pid !== process.pid && pid !== reaperPid())
      .map(({ pid, command }) => `process ${pid} (${command.slice(0, 100)})`),
    ...readdirSync(folder).filter((name) => name.startsWith('millrace-')),
  ]
  await poll(() => left().length === 0 || undefined, { withinMs: 30_000, what: 'nothing is left' }).catch(
    () => {},
  )
  return left()
}
