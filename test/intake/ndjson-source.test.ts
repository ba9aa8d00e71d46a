import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import type { NdjsonSourceOptions } from '../../src/intake/ndjson-options.ts'
import { NdjsonSource } from '../../src/intake/ndjson-source.ts'
import { HEADERS } from '../../src/job/job.ts'
import type { Delivery } from '../../src/job/record.ts'
import { FilePublisher } from '../../src/publish/file-publisher.ts'
import { describeSource, numbered, Run, silent } from '../contract/source.ts'
import { until } from '../until.ts'

async function folder(): Promise<{ path: string; [Symbol.asyncDispose](): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'millrace-intake-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

describeSource('NDJSON', async () => {
  const home = await folder()
  const growing = ['a', 'b'].map((topic) => ({ topic, path: join(home.path, `${topic}.ndjson`) }))
  return {
    partitions: [
      { topic: 'a', partition: 0 },
      { topic: 'b', partition: 0 },
    ],
    publish: ({ topic }, values) =>
      appendFile(join(home.path, `${topic}.ndjson`), values.map((v) => `${v}\n`).join('')),
    open: () =>
      new NdjsonSource({ growing, cursorPath: join(home.path, 'cursor.json'), pollEveryMs: 10 }, silent),
    close: () => home[Symbol.asyncDispose](),
  }
})

describe('NDJSON input', () => {
  const open = (path: string, options: Partial<NdjsonSourceOptions> = {}) =>
    new NdjsonSource(
      {
        input: { topic: 'millrace.jobs', from: join(path, 'jobs.ndjson') },
        growing: [],
        cursorPath: join(path, 'state', 'cursor.json'),
        pollEveryMs: 10,
        ...options,
      },
      silent,
    )

  it('hands over every line with its bytes untouched, the last one without line feed too', async () => {
    await using home = await folder()
    const lines = ['{"a":1}\r', '  \r', 'no json', '{"b":"\u2028ü"}', '{"last":true}']
    await writeFile(
      join(home.path, 'jobs.ndjson'),
      Buffer.concat([
        Buffer.from(`${lines[0]}\n${lines[1]}\n\n`),
        Buffer.from([0xff, 0x00, 0x0a]),
        Buffer.from(lines.slice(2).join('\n')),
      ]),
    )
    await using run = await new Run(open(home.path), {}, (delivery) => delivery.settle()).start()
    await run.intake.idle
    await run.intake.stop()
    const values = run.deliveries.map(({ record }) => record.value)
    assert.deepEqual(values, [
      Buffer.from(lines[0]!),
      Buffer.from([0xff, 0x00]),
      ...lines.slice(2).map((line) => Buffer.from(line)),
    ])
    const { offset } = run.deliveries.at(-1)!.record
    const bytes = await readFile(join(home.path, 'jobs.ndjson'))
    assert.equal(bytes.subarray(offset).toString(), '{"last":true}')
  })

  it('goes on after a kill where it was, with the same ids and times', async () => {
    await using home = await folder()
    await writeFile(join(home.path, 'jobs.ndjson'), `${numbered(0, 2000).join('\n')}\n`)
    await using run = await new Run(open(home.path)).start()
    await until(() => run.deliveries.length === 2000, 'all lines')
    for (const delivery of run.deliveries.slice(0, 1200)) delivery.settle()
    await until(async () => (await run.counter('kafka_committed_total')) === 1200, 'the commit')
    // No stop: what a killed process leaves behind is what is on the disk now.
    await using next = await new Run(open(home.path), {}, (delivery) => delivery.settle()).start()
    await next.intake.idle
    assert.deepEqual(next.values(), numbered(1200, 800))
    const place = ({ record }: (typeof run.deliveries)[number]) => [
      record.partition,
      record.offset,
      record.timestampMs,
    ]
    assert.deepEqual(next.deliveries.map(place), run.deliveries.slice(1200).map(place))
    await Promise.all([run.intake.stop(), next.intake.stop()])
  })

  it('does a finished input again, an appended one from where it ended, a rewritten one as a new one', async () => {
    await using home = await folder()
    const path = join(home.path, 'jobs.ndjson')
    const all = async () => {
      await using run = await new Run(open(home.path), {}, (delivery) => delivery.settle()).start()
      await run.intake.idle
      await run.intake.stop()
      return run
    }
    await writeFile(path, `${numbered(0, 3).join('\n')}\n`)
    const first = await all()
    const again = await all()
    assert.deepEqual(again.values(), first.values())
    // Jobs of another day: other ids, other times.
    assert.notEqual(again.deliveries[0]!.record.partition, first.deliveries[0]!.record.partition)
    assert.ok(again.deliveries[0]!.record.timestampMs > first.deliveries[0]!.record.timestampMs)
    await appendFile(path, `${numbered(3, 2).join('\n')}\n`)
    assert.deepEqual((await all()).values(), numbered(3, 2))
    await writeFile(path, `${numbered(7, 2).join('\n')}\n`)
    const rewritten = await all()
    assert.deepEqual(rewritten.values(), numbered(7, 2))
    assert.notEqual(rewritten.deliveries[0]!.record.partition, first.deliveries[0]!.record.partition)
  })

  it('cuts a line above the bound, says how long it was, and goes on with the next', async () => {
    await using home = await folder()
    const long = 'x'.repeat(300_000)
    await writeFile(join(home.path, 'jobs.ndjson'), `{"n":0}\n${long}\n{"n":1}\n`)
    await using run = await new Run(open(home.path, { lineBytesMax: 100_000 }), {}, (delivery) =>
      delivery.settle(),
    ).start()
    await run.intake.idle
    await run.intake.stop()
    const [first, cut, last] = run.deliveries.map(({ record }) => record)
    assert.equal(first!.value!.toString(), '{"n":0}')
    assert.equal(cut!.value!.toString(), long.slice(0, 100_000))
    assert.equal((cut!.headers[HEADERS.cut] as Buffer).toString(), '300000')
    assert.equal(last!.value!.toString(), '{"n":1}')
  })

  it('reads a stream only as fast as the jobs are done', async () => {
    await using home = await folder()
    const stream = new PassThrough({ highWaterMark: 1024 })
    const lines = numbered(0, 20_000)
    let written = 0
    const writing = (async () => {
      for (const line of lines) {
        written += 1
        if (!stream.write(`${line}\n`)) await new Promise((resolve) => stream.once('drain', resolve))
      }
      stream.end()
    })()
    const source = open(home.path, { input: { topic: 'millrace.jobs', from: stream } })
    await using run = await new Run(source, { jobsMax: 50 }).start()
    await until(() => run.deliveries.length === 50, 'the first jobs')
    let before = -1
    await until(async () => {
      const isStill = before === written
      before = written
      await new Promise((resolve) => setTimeout(resolve, 20))
      return isStill
    }, 'the writer to be held back')
    assert.ok(written < 1000, `${written} lines read ahead`)
    const settling = setInterval(() => {
      for (const delivery of run.deliveries) delivery.settle()
    }, 1)
    await run.intake.idle
    clearInterval(settling)
    await writing
    assert.deepEqual(run.values(), lines)
    await run.intake.stop()
  })

  it('refuses an input that is not there with one clear line', async () => {
    await using home = await folder()
    await using run = new Run(open(home.path))
    await assert.rejects(run.start(), {
      code: 'INPUT',
      kind: 'usage',
      message: /Cannot read the jobs from .*jobs\.ndjson/,
    })
    await run.intake.stop()
  })

  it('ends when follow-ups and due retries are done too, and holds retries until their time', async () => {
    await using home = await folder()
    const growing = ['millrace.jobs', 'millrace.retry.30s'].map((topic) => ({
      topic,
      path: join(home.path, 'out', `${topic}.ndjson`),
    }))
    await writeFile(join(home.path, 'jobs.ndjson'), '{"n":0}\n')
    const publisher = new FilePublisher({ folder: join(home.path, 'out'), plainTopics: [] }, silent)
    await publisher.start()
    const never = new AbortController().signal
    const dueAtMs = Date.now() + 60_000
    let nowMs = Date.now()
    const arrivals: { value: string; atMs: number }[] = []
    const work = async (run: Run, index: number) => {
      const { record, settle } = run.deliveries[index]!
      arrivals.push({ value: record.value!.toString(), atMs: nowMs })
      if (arrivals.length === 2) nowMs = dueAtMs
      if (arrivals.length === 1) {
        const headers = { [HEADERS.dueAt]: Buffer.from(String(dueAtMs)) }
        await publisher.publish(
          'millrace.jobs',
          [{ key: null, value: Buffer.from('follow-up'), headers: {} }],
          never,
        )
        await publisher.publish(
          'millrace.retry.30s',
          [{ key: null, value: Buffer.from('retry'), headers }],
          never,
        )
      }
      settle()
    }
    const options = { retryTopics: ['millrace.retry.30s'] }
    await using run: Run = new Run(
      open(home.path, { growing }),
      options,
      () => void work(run, run.deliveries.length - 1),
      () => nowMs,
    )
    await run.start()
    await run.intake.idle
    await run.intake.stop()
    assert.deepEqual(
      arrivals.map(({ value }) => value),
      ['{"n":0}', 'follow-up', 'retry'],
    )
    assert.ok(arrivals[2]!.atMs >= dueAtMs, 'the retry came before its time')

    const settle = (delivery: Delivery) => delivery.settle()
    await using again = await new Run(open(home.path, { growing }), options, settle, () => nowMs).start()
    await again.intake.idle
    await again.intake.stop()
    assert.deepEqual(again.values(), ['{"n":0}'], 'files of our own go on, only the input is done again')
    await publisher.stop()
  })

  it('leaves retries that are not due to the next run when told so', async () => {
    await using home = await folder()
    const path = join(home.path, 'millrace.retry.1h.ndjson')
    await writeFile(join(home.path, 'jobs.ndjson'), '{"n":0}\n')
    const publisher = new FilePublisher({ folder: home.path, plainTopics: [] }, silent)
    await publisher.start()
    const headers = { [HEADERS.dueAt]: Buffer.from(String(Date.now() + 3_600_000)) }
    const record = { key: null, value: Buffer.from('later'), headers }
    await publisher.publish('millrace.retry.1h', [record], new AbortController().signal)
    await publisher.stop()
    const growing = [{ topic: 'millrace.retry.1h', path }]
    const options = { retryTopics: ['millrace.retry.1h'], waitForRetries: false }
    await using run = await new Run(open(home.path, { growing }), options, (delivery) =>
      delivery.settle(),
    ).start()
    await run.intake.idle
    await run.intake.stop()
    assert.deepEqual(run.values(), ['{"n":0}'])

    await using later = new Run(open(home.path, { growing }), { ...options, dueWaitMsMax: 1 }, (delivery) =>
      delivery.settle(),
    )
    await later.start()
    await until(() => later.deliveries.length === 2, 'the retry')
    await later.intake.stop()
    assert.deepEqual(later.values().toSorted(), ['later', '{"n":0}'].toSorted())
  })
})
