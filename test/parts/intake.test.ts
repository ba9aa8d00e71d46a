import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadConfig } from '../../src/config/load.ts'
import { Intake } from '../../src/intake/intake.ts'
import type { Partition, Position, Source, SourceHandlers } from '../../src/intake/source.ts'
import type { Delivery } from '../../src/job/record.ts'
import { intakeOptionsOf, parkingOptionsOf } from '../../src/parts/intake.ts'
import { topicsOf } from '../../src/parts/topics.ts'
import { Parking } from '../../src/pipeline/parking.ts'
import type { Standing } from '../../src/pipeline/standing.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { record } from '../intake/scripted-source.ts'

const PLATFORMS = ['instagram', 'youtube', 'tiktok']
const PARTITIONS = 3
/** Of one platform alone. */
const DEDICATED = 'only.instagram'
const log = createLog({ level: 'silent', pretty: false, secrets: [] })

/** Topics in memory, of one partition each or of three. What is finished counts as committed. */
class Topics implements Source {
  readonly partitions = new Map<
    string,
    { at: Partition; platforms: string[]; read: number; finished: number }
  >()
  readonly paused = new Set<string>()
  handlers!: SourceHandlers

  async start(handlers: SourceHandlers): Promise<void> {
    this.handlers = handlers
    handlers.onRebalance('finished')
  }

  add(topic: string, count: number): void {
    for (let partition = 0; partition < count; partition++) {
      const at = { topic, partition }
      this.partitions.set(`${topic}/${partition}`, { at, platforms: [], read: 0, finished: 0 })
      this.handlers.onAssigned(at, 1)
    }
  }

  append(topic: string, partition: number, platform: string): void {
    this.partitions.get(`${topic}/${partition}`)!.platforms.push(platform)
  }

  /** The names of those that have something to be read, and may be. */
  readable(): string[] {
    return [...this.partitions]
      .filter(([name, { platforms, read }]) => read < platforms.length && !this.paused.has(name))
      .map(([name]) => name)
  }

  fetch(name: string, most: number): void {
    const one = this.partitions.get(name)!
    const records = one.platforms
      .slice(one.read, one.read + most)
      .map((platform, i) => record(one.at, one.read + i, { value: Buffer.from(platform) }))
    one.read += records.length
    this.handlers.onRecords(one.at, 1, records, one.read)
  }

  pause(partitions: readonly Partition[]): void {
    for (const { topic, partition } of partitions) this.paused.add(`${topic}/${partition}`)
  }

  resume(partitions: readonly Partition[]): void {
    for (const { topic, partition } of partitions) this.paused.delete(`${topic}/${partition}`)
  }

  backlog(topic: string): number {
    let records = 0
    for (const { at, platforms, finished } of this.partitions.values())
      if (at.topic === topic) records += platforms.length - finished
    return records
  }

  async commit(positions: readonly Position[]): Promise<readonly Position[]> {
    return positions
  }

  lag(): readonly [] {
    return []
  }

  async exhausted(): Promise<boolean> {
    return false
  }

  async stop(): Promise<void> {}
}

/** Intake and parking as the daemon puts them together; between a delivery and its place in the queue some time passes. */
class Daemon {
  readonly source = new Topics()
  readonly free = new Set<string>()
  readonly done = new Map<string, number>()
  readonly #arriving: Delivery[] = []
  readonly #waiting = new Map<string, { delivery: Delivery; standing: Standing }[]>()
  readonly #topics: ReturnType<typeof topicsOf>
  readonly #intake: Intake
  readonly #parking: Parking

  constructor({ jobsMax, bytesMax }: { jobsMax: number; bytesMax: number }) {
    const env = { MILLRACE_INTAKE__JOBS_MAX: String(jobsMax), MILLRACE_INTAKE__BYTES_MAX: String(bytesMax) }
    const config = loadConfig({ file: null, env })
    const { jobs, ...others } = topicsOf(config, PLATFORMS)
    this.#topics = { ...others, jobs: [...jobs, { name: DEDICATED, weight: 1, platform: 'instagram' }] }
    const options = { ...intakeOptionsOf(config, this.#topics), handMsMax: 1e9, commitEveryMs: 1e9 }
    this.#intake = new Intake(options, { source: this.source, metrics: createMetrics(), log })
    this.#parking = new Parking(parkingOptionsOf(config, this.#topics, new Set(PLATFORMS)), this.#intake, log)
  }

  async start(jobs: readonly string[], dedicated: number): Promise<void> {
    const onDelivery = (delivery: Delivery) => void this.#arriving.push(delivery)
    await this.#intake.start({ onDelivery, onFatal: assert.fail })
    this.source.add('millrace.jobs', PARTITIONS)
    for (const topic of [DEDICATED, ...this.#topics.parked.values()]) this.source.add(topic, 1)
    for (const [i, platform] of jobs.entries()) this.source.append('millrace.jobs', i % PARTITIONS, platform)
    for (let i = 0; i < dedicated; i++) this.source.append(DEDICATED, 0, 'instagram')
    this.#parking.start()
  }

  async stop(): Promise<void> {
    this.#parking.stop()
    await this.#intake.stop()
  }

  /**
   * What can happen next; empty when nothing can until a platform takes jobs again. `late`: deliveries arrive in their queues only when
   * nothing else happens.
   */
  possible(fetchMax: number, late: boolean): (() => void)[] {
    const fetches = this.source.readable().map((name) => () => this.source.fetch(name, fetchMax))
    const arrivals = this.#arriving.length > 0 && !(late && fetches.length > 0) ? [() => this.#arrive()] : []
    const permits = [...this.free]
      .filter((platform) => (this.#waiting.get(platform)?.length ?? 0) > 0)
      .map((platform) => () => this.#end(platform))
    return [...fetches, ...arrivals, ...permits]
  }

  #arrive(): void {
    const delivery = this.#arriving.shift()!
    const platform = String(delivery.record.value)
    const topic = this.#parking.topicFor(platform, delivery)
    if (topic !== undefined) {
      this.source.append(topic, 0, platform)
      this.#settle(delivery)
      return
    }
    const standing = this.#parking.admit(platform, delivery)
    standing.waits()
    const waiting = this.#waiting.get(platform) ?? []
    waiting.push({ delivery, standing })
    this.#waiting.set(platform, waiting)
  }

  #end(platform: string): void {
    const { delivery, standing } = this.#waiting.get(platform)!.shift()!
    standing.ends()
    this.#settle(delivery)
    this.done.set(platform, (this.done.get(platform) ?? 0) + 1)
  }

  #settle(delivery: Delivery): void {
    this.source.partitions.get(`${delivery.record.topic}/${delivery.record.partition}`)!.finished += 1
    delivery.settle()
  }
}

test('who can be asked is asked, whatever waits for others, and however late it is seen for whom a job is', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const scene = fc.record({
    jobsMax: fc.integer({ min: 4, max: 200 }),
    /** Room for any number of jobs, or for as few as that: each counts some 270 bytes, little beside a share. */
    bytesMax: fc.oneof(fc.constant(1e9), fc.integer({ min: 12_000, max: 40_000 })),
    jobs: fc.array(fc.constantFrom(...PLATFORMS), { minLength: 1, maxLength: 400, size: 'max' }),
    dedicated: fc.integer({ min: 0, max: 100 }),
    /** Who takes jobs, one time after another. */
    turns: fc.array(fc.subarray(PLATFORMS), { minLength: 1, maxLength: 4 }),
    picks: fc.infiniteStream(fc.nat()),
    fetchMax: fc.integer({ min: 1, max: 100 }),
    late: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(scene, async ({ jobs, dedicated, turns, picks, fetchMax, late, ...bounds }) => {
      const counts = new Map(
        PLATFORMS.map((platform) => [platform, platform === 'instagram' ? dedicated : 0]),
      )
      for (const platform of jobs) counts.set(platform, counts.get(platform)! + 1)
      const daemon = new Daemon(bounds)
      await daemon.start(jobs, dedicated)
      try {
        for (const free of [...turns, PLATFORMS]) {
          daemon.free.clear()
          for (const platform of free) daemon.free.add(platform)
          // Twice: the first look may end the parking.
          for (let looks = 0; looks < 2; looks++) {
            for (;;) {
              const possible = daemon.possible(fetchMax, late)
              if (possible.length === 0) break
              possible[picks.next().value! % possible.length]!()
            }
            t.mock.timers.tick(1_000)
          }
          for (const platform of free)
            assert.equal(daemon.done.get(platform) ?? 0, counts.get(platform), platform)
        }
      } finally {
        await daemon.stop()
      }
    }),
    { numRuns: Number(process.env.MILLRACE_PROPERTY_RUNS ?? 200) },
  )
})
