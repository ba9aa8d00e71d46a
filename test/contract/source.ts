import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { Intake } from '../../src/intake/intake.ts'
import type { IntakeOptions } from '../../src/intake/intake-options.ts'
import { type Partition, type Position, partitionKey, type Source } from '../../src/intake/source.ts'
import type { Delivery, SourceRecord } from '../../src/job/record.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { until } from '../until.ts'

/** A place with two partitions, where records can be published and that sources can be opened on, one after the other. */
export interface SourceRig {
  readonly partitions: readonly [Partition, Partition]
  /** Appends records with these values; resolves when they can be read. */
  publish(partition: Partition, values: readonly string[]): Promise<void>
  /** A source that goes on where the one before committed. */
  open(): Source
  close(): Promise<void>
}

export const silent = createLog({ level: 'silent', pretty: false, secrets: [] })

/** An intake on a source, with what it delivered. */
export class Run {
  readonly metrics = createMetrics()
  readonly deliveries: Delivery[] = []
  readonly fatal: Error[] = []
  readonly intake: Intake
  mostInFlight = 0

  constructor(
    source: Source,
    options: IntakeOptions = {},
    onDelivery: (delivery: Delivery) => void = () => undefined,
    now: () => number = Date.now,
  ) {
    this.intake = new Intake(
      // Handed out at once, so that tests may look at once.
      { commitEveryMs: 50, handMsMax: Number.POSITIVE_INFINITY, ...options },
      { source, metrics: this.metrics, log: silent, now },
    )
    this.#onDelivery = onDelivery
  }

  readonly #onDelivery: (delivery: Delivery) => void

  async start(): Promise<this> {
    await this.intake.start({
      onDelivery: (delivery) => {
        this.deliveries.push(delivery)
        this.mostInFlight = Math.max(this.mostInFlight, this.intake.inFlight)
        this.#onDelivery(delivery)
      },
      onFatal: (error) => this.fatal.push(error),
    })
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.intake.stop()
  }

  values(partition?: Partition): string[] {
    return this.deliveries
      .map(({ record }) => record)
      .filter(isOf(partition))
      .map(textOf)
  }

  of(partition: Partition): Delivery[] {
    return this.deliveries.filter(({ record }) => isOf(partition)(record))
  }

  async counter(name: 'kafka_committed_total' | 'kafka_rebalances_total'): Promise<number> {
    return (await this.metrics[name].get()).values[0]?.value ?? 0
  }
}

export function numbered(from: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `{"n":${from + index}}`)
}

function isOf(partition: Partition | undefined) {
  return (record: SourceRecord) => partition === undefined || partitionKey(record) === partitionKey(partition)
}

function textOf(record: SourceRecord): string {
  return record.value?.toString('utf8') ?? ''
}

const settle = (delivery: Delivery) => delivery.settle()

/** What every adapter of the intake port must do. `prepare` returns null when its service is not there (and skips). */
export function describeSource(name: string, prepare: (t: TestContext) => Promise<SourceRig | null>): void {
  const behaviour = (title: string, body: (rig: SourceRig) => Promise<void>) =>
    it(title, async (t) => {
      const rig = await prepare(t)
      if (rig === null) return
      try {
        await body(rig)
      } finally {
        await rig.close()
      }
    })

  describe(`${name} as a source`, () => {
    behaviour('delivers all records once, in order within a partition', async (rig) => {
      const [first, second] = rig.partitions
      await rig.publish(first, numbered(0, 300))
      await using run = await new Run(rig.open(), {}, settle).start()
      await rig.publish(second, numbered(1000, 200))
      await until(() => run.deliveries.length >= 500, 'all records')
      await rig.publish(first, numbered(300, 5))
      await until(() => run.deliveries.length >= 505, 'the records that came later')
      await run.intake.stop()
      assert.deepEqual(run.values(first), numbered(0, 305))
      assert.deepEqual(run.values(second), numbered(1000, 200))
      assert.equal(await run.counter('kafka_committed_total'), 505)
    })

    behaviour(
      'commits what is finished without a gap, and what is finished beyond it is not delivered again',
      async (rig) => {
        const [first, second] = rig.partitions
        await rig.publish(first, numbered(0, 10))
        await rig.publish(second, numbered(0, 4))
        await using run = await new Run(rig.open()).start()
        await until(() => run.deliveries.length === 14, 'all records')
        for (const [index, delivery] of run.of(first).toReversed().entries())
          if (index !== 6) delivery.settle()
        for (const delivery of run.of(second)) delivery.settle()
        await until(async () => (await run.counter('kafka_committed_total')) === 3 + 4, 'the commit')
        await run.intake.stop()

        await using next = await new Run(rig.open(), {}, settle).start()
        await until(() => next.deliveries.length >= 1, 'what was not finished')
        await rig.publish(first, numbered(10, 2))
        await until(() => next.deliveries.length >= 3, 'what came since')
        await until(
          async () => (await next.counter('kafka_committed_total')) === 9,
          'the commit of all the rest',
        )
        await next.intake.stop()
        assert.deepEqual(next.values(first), [...numbered(3, 1), ...numbered(10, 2)])
        assert.deepEqual(next.values(second), [])
      },
    )

    behaviour('goes on at the committed place', async (rig) => {
      const [first] = rig.partitions
      await rig.publish(first, numbered(0, 50))
      await using run = await new Run(rig.open(), { commitEveryMs: 60_000 }, settle).start()
      await until(() => run.deliveries.length === 50, 'all records')
      assert.equal(await run.intake.drain(AbortSignal.timeout(60_000)), 0)
      await run.intake.stop()
      await rig.publish(first, numbered(50, 3))
      await using next = await new Run(rig.open(), {}, settle).start()
      await until(() => next.deliveries.length >= 3, 'the new records')
      await next.intake.stop()
      assert.deepEqual(next.values(), numbered(50, 3))
    })

    behaviour('delivers nothing of a paused partition until it is resumed', async (rig) => {
      const [first, second] = rig.partitions
      const source = rig.open()
      const seen: SourceRecord[] = []
      let assigned = 0
      await source.start({
        onAssigned: (partition) => {
          assigned += 1
          if (partitionKey(partition) === partitionKey(first)) source.pause([partition])
        },
        onRecords: (_partition, _epoch, records) => seen.push(...records),
        onLost: () => undefined,
        onRebalance: () => undefined,
        onFatal: assert.fail,
        onEnd: () => undefined,
      })
      await until(() => assigned >= 2, 'both partitions')
      await rig.publish(first, numbered(0, 3))
      await rig.publish(second, numbered(10, 3))
      await until(() => seen.length >= 3, 'the other partition')
      await rig.publish(second, numbered(13, 3))
      await until(() => seen.length >= 6, 'the other partition again')
      assert.deepEqual(seen.filter(isOf(first)), [])
      source.resume([first])
      await until(() => seen.filter(isOf(first)).length >= 3, 'the resumed partition')
      assert.deepEqual(seen.filter(isOf(first)).map(textOf), numbered(0, 3))
      await source.stop()
    })

    behaviour('refuses a commit of a stale epoch', async (rig) => {
      const [first] = rig.partitions
      await rig.publish(first, numbered(0, 5))
      const source = rig.open()
      const seen: { record: SourceRecord; epoch: number }[] = []
      await source.start({
        onAssigned: () => undefined,
        onRecords: (_partition, epoch, records) => seen.push(...records.map((record) => ({ record, epoch }))),
        onLost: () => undefined,
        onRebalance: () => undefined,
        onFatal: assert.fail,
        onEnd: () => undefined,
      })
      await until(() => seen.length >= 5, 'the records')
      const position = (index: number, epoch: number): Position => ({
        ...first,
        epoch,
        offset: seen[index]!.record.offset,
        beyond: '',
      })
      const { epoch } = seen[0]!
      assert.deepEqual(await source.commit([position(4, epoch + 1)]), [])
      assert.deepEqual(await source.commit([position(2, epoch)]), [position(2, epoch)])
      await source.stop()
      assert.deepEqual(await source.commit([position(4, epoch)]), [])

      await using next = await new Run(rig.open(), {}, settle).start()
      await until(() => next.deliveries.length >= 3, 'the rest')
      await next.intake.stop()
      assert.deepEqual(next.values(), numbered(2, 3))
    })

    behaviour('is held back by the bounds of the intake and loses nothing by it', async (rig) => {
      const [first, second] = rig.partitions
      await rig.publish(first, numbered(0, 400))
      await rig.publish(second, numbered(400, 400))
      await using run = new Run(rig.open(), { jobsMax: 20, spanMax: 10 }, (delivery) =>
        setTimeout(() => delivery.settle(), 1),
      )
      await run.start()
      await until(() => run.deliveries.length >= 800 && run.intake.inFlight === 0, 'all records')
      await run.intake.stop()
      assert.ok(run.mostInFlight <= 20, `${run.mostInFlight} in flight`)
      assert.deepEqual(run.values(first), numbered(0, 400))
      assert.deepEqual(run.values(second), numbered(400, 400))
    })

    behaviour('hands out nothing while held or draining, and drains to the last delivery', async (rig) => {
      const [first] = rig.partitions
      await using run = await new Run(rig.open()).start()
      await until(() => run.intake.assigned, 'the assignment')
      run.intake.hold('clickhouse')
      await rig.publish(first, numbered(0, 3))
      assert.deepEqual(run.intake.holds, ['clickhouse'])
      assert.equal(run.deliveries.length, 0)
      run.intake.release('clickhouse')
      await until(() => run.deliveries.length === 3, 'the records after the hold')
      const drained = run.intake.drain(AbortSignal.timeout(60_000))
      await rig.publish(first, numbered(3, 3))
      for (const delivery of run.deliveries) delivery.settle()
      assert.equal(await drained, 0)
      assert.equal(run.deliveries.length, 3)
      await run.intake.stop()

      await using next = await new Run(rig.open()).start()
      await until(() => next.deliveries.length >= 3, 'what came during the drain')
      assert.equal(await next.intake.drain(AbortSignal.abort()), 3)
      const [delivery] = next.deliveries
      assert.equal(delivery!.lost.aborted, false)
      await next.intake.stop()
      assert.equal(delivery!.lost.aborted, true)
      delivery!.settle()
      assert.deepEqual(next.values(), numbered(3, 3))
    })
  })
}
