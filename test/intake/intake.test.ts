import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { IntakeOptions } from '../../src/intake/intake-options.ts'
import { HEADERS } from '../../src/job/job.ts'
import type { Delivery } from '../../src/job/record.ts'
import { Run } from '../contract/source.ts'
import { until } from '../until.ts'
import { record, ScriptedSource } from './scripted-source.ts'

const jobs = { topic: 'jobs', partition: 0 }
const others = { topic: 'others', partition: 0 }
const retries = { topic: 'retry', partition: 0 }

describe('intake', () => {
  const begin = async (options: IntakeOptions = {}, onDelivery?: (delivery: Delivery) => void) => {
    const source = new ScriptedSource()
    const run = new Run(source, { commitEveryMs: 60_000, ...options }, onDelivery)
    await run.start()
    source.handlers.onAssigned(jobs, 1)
    return { source, run, [Symbol.asyncDispose]: () => run.intake.stop() }
  }

  it('pauses at the bound of jobs, hands out the rest as room comes, resumes at half', async () => {
    await using setup = await begin({ jobsMax: 10 })
    const { source, run } = setup
    source.deliver(jobs, 1, 0, 14)
    assert.equal(run.deliveries.length, 10)
    assert.deepEqual([...source.paused], ['jobs/0'])
    for (const delivery of run.deliveries.slice(0, 5)) delivery.settle()
    assert.equal(run.deliveries.length, 14)
    assert.deepEqual([...source.paused], ['jobs/0'])
    for (const delivery of run.deliveries.slice(5, 9)) delivery.settle()
    assert.deepEqual([...source.paused], [])
  })

  it('pauses at the bound of bytes, yet lets a single record through that is larger', async () => {
    await using setup = await begin({ bytesMax: 10_000 })
    const { source, run } = setup
    source.deliver(jobs, 1, 0, 3, { value: Buffer.alloc(20_000) })
    assert.equal(run.deliveries.length, 1)
    assert.deepEqual([...source.paused], ['jobs/0'])
    run.deliveries[0]!.settle()
    assert.equal(run.deliveries.length, 2)
    run.deliveries[1]!.settle()
    run.deliveries[2]!.settle()
    assert.deepEqual([...source.paused], [])
  })

  it('pauses only the partition whose oldest job takes too long', async () => {
    await using setup = await begin({ spanMax: 10 })
    const { source, run } = setup
    source.handlers.onAssigned(others, 2)
    source.deliver(jobs, 1, 0, 10)
    source.deliver(others, 2, 0, 5)
    assert.deepEqual([...source.paused], ['jobs/0'])
    for (const delivery of run.of(jobs).slice(1)) delivery.settle()
    assert.deepEqual([...source.paused], ['jobs/0'])
    run.of(jobs)[0]!.settle()
    assert.deepEqual([...source.paused], [])
  })

  it('says of what is handed out when its partition has come half as far as it may', async () => {
    await using setup = await begin({ spanMax: 10 })
    const { source, run } = setup
    source.handlers.onAssigned(others, 2)
    source.deliver(jobs, 1, 0, 4)
    source.deliver(others, 2, 0, 1)
    const [oldest, ...rest] = run.of(jobs)
    for (const delivery of rest) delivery.settle()
    assert.equal(oldest?.holdsUp, false)
    source.deliver(jobs, 1, 4, 1)
    assert.equal(oldest?.holdsUp, true)
    assert.equal(run.of(others)[0]?.holdsUp, false)
    oldest?.settle()
    assert.equal(run.of(jobs)[4]?.holdsUp, false)
  })

  it('frees the room of a lost partition and ignores what is settled for it later', async () => {
    await using setup = await begin({ jobsMax: 4 })
    const { source, run } = setup
    source.handlers.onAssigned(others, 2)
    source.deliver(jobs, 1, 0, 6)
    source.deliver(others, 2, 0, 2)
    assert.equal(run.of(others).length, 0)
    source.handlers.onLost(jobs, 1)
    assert.equal(run.of(others).length, 2)
    assert.equal(run.intake.inFlight, 2)
    for (const delivery of run.of(jobs)) {
      assert.equal(delivery.lost.aborted, true)
      delivery.settle()
    }
    assert.equal(run.intake.inFlight, 2)
    await run.intake.drain(AbortSignal.abort())
    assert.deepEqual(source.commits, [])
  })

  it('does not let the ledger of one assignment reach into the next', async () => {
    await using setup = await begin()
    const { source, run } = setup
    source.deliver(jobs, 1, 0, 3)
    source.handlers.onLost(jobs, 1)
    source.handlers.onAssigned(jobs, 2)
    source.deliver(jobs, 1, 3, 3)
    source.deliver(jobs, 2, 0, 3)
    assert.equal(run.deliveries.length, 6)
    for (const delivery of run.deliveries) delivery.settle()
    await run.intake.drain(AbortSignal.timeout(1_000))
    assert.deepEqual(source.commits, [{ ...jobs, epoch: 2, offset: 3, beyond: '' }])
  })

  it('ignores a rewind over what is in flight, finished or committed', async () => {
    await using setup = await begin()
    const { source, run } = setup
    source.deliver(jobs, 1, 0, 6)
    run.deliveries[0]!.settle()
    run.deliveries[3]!.settle()
    source.deliver(jobs, 1, 0, 8)
    assert.deepEqual(
      run.deliveries.map((delivery) => delivery.record.offset),
      [0, 1, 2, 3, 4, 5, 6, 7],
    )
  })

  it('commits before a rebalance and is not ready during it', async () => {
    await using setup = await begin()
    const { source, run } = setup
    source.deliver(jobs, 1, 0, 2)
    run.deliveries[0]!.settle()
    assert.equal(run.intake.assigned, true)
    source.handlers.onRebalance('started')
    assert.equal(run.intake.assigned, false)
    await until(() => source.commits.length === 1, 'the commit')
    assert.deepEqual(source.commits, [{ ...jobs, epoch: 1, offset: 1, beyond: '' }])
  })

  it('offers again what a commit could not store', async () => {
    await using setup = await begin({ commitEveryMs: 10 })
    const { source, run } = setup
    source.commitError = new Error('rebalance in progress')
    source.deliver(jobs, 1, 0, 2)
    for (const delivery of run.deliveries) delivery.settle()
    await new Promise((resolve) => setTimeout(resolve, 50))
    source.commitError = undefined
    await until(() => source.commits.length > 0, 'the commit')
    assert.deepEqual(source.commits[0], { ...jobs, epoch: 1, offset: 2, beyond: '' })
    assert.equal(await run.counter('kafka_committed_total'), 2)
  })

  it('gives topics turns by their weight', async () => {
    await using setup = await begin({ jobsMax: 8, weights: { jobs: 3 } })
    const { source, run } = setup
    source.handlers.onAssigned(others, 2)
    run.intake.hold('test')
    source.deliver(jobs, 1, 0, 20)
    source.deliver(others, 2, 0, 20)
    assert.equal(run.deliveries.length, 0)
    run.intake.release('test')
    const topics = run.deliveries.map((delivery) => delivery.record.topic)
    assert.deepEqual(topics, ['jobs', 'jobs', 'others', 'jobs', 'jobs', 'jobs', 'others', 'jobs'])
  })

  it('keeps to the weights while each fetch brings one topic only, and never stops for a topic that has nothing', async () => {
    await using setup = await begin({ jobsMax: 8, weights: { jobs: 3 } })
    const { source, run } = setup
    source.handlers.onAssigned(others, 2)
    const offsets = { jobs: 0, others: 0 }
    /** As a broker would: what is not paused gets the next fetch, the light topic a large one. */
    const fetch = () => {
      for (const [partition, epoch, size] of [
        [others, 2, 40],
        [jobs, 1, 5],
      ] as const) {
        if (source.paused.has(`${partition.topic}/0`)) continue
        source.deliver(partition, epoch, offsets[partition.topic as 'jobs'], size)
        offsets[partition.topic as 'jobs'] += size
      }
    }
    fetch()
    for (let settled = 0; settled < 400; settled++) {
      run.deliveries[settled]!.settle()
      fetch()
    }
    const share =
      run.deliveries.slice(50, 400).filter(({ record: { topic } }) => topic === 'jobs').length / 350
    assert.ok(share > 0.72 && share < 0.78, `${share}`)
    // Nothing comes of the heavy one any more: the light one has it all.
    source.handlers.onLost(jobs, 1)
    const before = run.deliveries.length
    for (const delivery of run.deliveries.slice(0, before)) delivery.settle()
    assert.ok(run.deliveries.length > before)
  })

  it('hands out for a while, lets others go on, and hands out the rest', async () => {
    let others = 0
    let handedBefore = 0
    await using setup = await begin({ handMsMax: 1, jobsMax: 1_000 }, () => {
      const untilMs = performance.now() + 0.2
      while (performance.now() < untilMs);
    })
    const { source, run } = setup
    setImmediate(() => {
      others++
      handedBefore = run.deliveries.length
    })
    source.deliver(jobs, 1, 0, 200)
    await until(() => run.deliveries.length === 200, 'all of them')
    assert.equal(others, 1)
    assert.ok(handedBefore > 0 && handedBefore < 20, `${handedBefore} before anybody else`)
    assert.deepEqual(
      run.deliveries.map(({ record: { offset } }) => offset),
      Array.from({ length: 200 }, (_, n) => n),
    )
  })

  it('takes turns among the partitions of a topic, however little room there is', async () => {
    await using setup = await begin({ jobsMax: 1 })
    const { source, run } = setup
    const second = { topic: 'jobs', partition: 1 }
    source.handlers.onAssigned(second, 2)
    source.deliver(jobs, 1, 0, 10)
    source.deliver(second, 2, 0, 10)
    for (let i = 0; i < 9; i++) run.deliveries[i]!.settle()
    assert.deepEqual(
      run.deliveries.map(({ record: { partition } }) => partition),
      [0, 1, 0, 1, 0, 1, 0, 1, 0, 1],
    )
  })

  it('holds one topic by itself, and hands out what waits of it when it is released', async () => {
    await using setup = await begin({ jobsMax: 10 })
    const { source, run } = setup
    source.handlers.onAssigned(others, 2)
    run.intake.holdTopic('jobs')
    assert.deepEqual([...source.paused], ['jobs/0'])
    // What was on its way already.
    source.deliver(jobs, 1, 0, 20)
    source.deliver(others, 2, 0, 10)
    assert.equal(run.of(others).length, 10)
    for (const delivery of run.of(others)) delivery.settle()
    assert.equal(run.of(jobs).length, 0)
    run.intake.releaseTopic('jobs')
    assert.equal(run.of(jobs).length, 10)
    for (const delivery of run.of(jobs).slice(0, 10)) delivery.settle()
    assert.equal(run.of(jobs).length, 20)
  })

  it('keeps retries until they are due without letting them take the room of jobs', async () => {
    let nowMs = 1_000_000
    const source = new ScriptedSource()
    const options = { jobsMax: 3, retryTopics: ['retry'], commitEveryMs: 5, dueWaitMsMax: 60_000 }
    await using run = new Run(source, options, undefined, () => nowMs)
    const { deliveries } = await run.start()
    source.handlers.onAssigned(jobs, 1)
    source.handlers.onAssigned(retries, 2)
    const due = (text: string) => ({ headers: { [HEADERS.dueAt]: Buffer.from(text) } })
    source.handlers.onRecords(
      retries,
      2,
      [
        record(retries, 0, due('not a time')),
        record(retries, 1, due(String(nowMs + 30_000))),
        record(retries, 2, due(new Date(nowMs + 10_000).toISOString())),
        record(retries, 3, due('9999999999999999')),
        record(retries, 4),
      ],
      5,
    )
    assert.deepEqual(
      deliveries.map(({ record: { offset } }) => offset),
      [0],
    )
    assert.deepEqual([...source.paused], ['retry/0'])
    source.deliver(jobs, 1, 0, 2)
    assert.equal(deliveries.length, 3)
    assert.deepEqual([...source.paused], ['retry/0', 'jobs/0'])
    for (const delivery of deliveries) delivery.settle()
    assert.deepEqual([...source.paused], ['retry/0'])
    nowMs += 30_000
    await until(() => deliveries.length === 5, 'the retries that are due')
    for (const delivery of deliveries) delivery.settle()
    nowMs += 30_000
    await until(() => deliveries.length === 7, 'the one with the mad time, at the bound')
    assert.deepEqual([...source.paused], [])
  })

  it('says that a handler which throws is fatal, and never commits that record', async () => {
    await using setup = await begin({}, () => {
      throw new Error('bug')
    })
    const { source, run } = setup
    source.deliver(jobs, 1, 0, 1)
    assert.equal((run.fatal[0] as { code?: string }).code, 'INTAKE_HANDLER')
    await run.intake.stop()
    assert.deepEqual(source.commits, [])
  })

  it('leaves in time while the service hangs in a commit', async () => {
    await using setup = await begin()
    const { source, run } = setup
    source.deliver(jobs, 1, 0, 1)
    run.deliveries[0]!.settle()
    source.commit = () => new Promise(() => {})
    await run.intake.drain(AbortSignal.timeout(10))
    await run.intake.stop()
  })

  it('can be stopped and drained twice, and passes on a fatal end of the source', async () => {
    await using setup = await begin()
    const { source, run } = setup
    source.handlers.onFatal(new Error('gone'))
    assert.equal(run.fatal.length, 1)
    await run.intake.drain(AbortSignal.timeout(1_000))
    await run.intake.drain(AbortSignal.timeout(1_000))
    await run.intake.stop()
    await run.intake.stop()
    assert.equal(source.stops, 1)
    assert.equal(run.intake.assigned, false)
  })
})
