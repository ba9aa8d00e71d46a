import assert from 'node:assert/strict'
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { OutRecord } from '../../src/job/record.ts'
import { FilePublisher } from '../../src/publish/file-publisher.ts'
import { decodeStoredLine, encodeStoredLine } from '../../src/publish/stored-line.ts'
import { silent } from '../contract/source.ts'
import { until } from '../until.ts'

const never = new AbortController().signal
const value = (text: string): OutRecord => ({ key: null, value: Buffer.from(text), headers: {} })

async function setup(plainTopics: readonly string[] = []) {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-publish-'))
  const publisher = new FilePublisher({ folder, plainTopics, now: () => 0 }, silent)
  await publisher.start()
  return {
    folder,
    publisher,
    lines: async (topic: string) =>
      (await readFile(join(folder, `${topic}.ndjson`), 'utf8')).split('\n').slice(0, -1),
    [Symbol.asyncDispose]: async () => {
      await publisher.stop()
      await rm(folder, { recursive: true })
    },
  }
}

describe('stored lines', () => {
  it('come back byte for byte, whatever the bytes are', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 50 }).map((array) => Buffer.from(array)),
      fc.string({ unit: 'binary', maxLength: 50 }).map((text) => Buffer.from(text)),
    )
    const headers = fc.dictionary(
      fc.oneof(fc.string(), fc.constant('__proto__'), fc.constant('constructor')),
      fc.oneof(bytes, fc.array(bytes)),
    )
    fc.assert(
      fc.property(
        fc.option(bytes),
        fc.option(bytes),
        headers,
        fc.integer({ min: 0, max: 4e12 }),
        (key, body, given, atMs) => {
          const line = encodeStoredLine({ key, value: body, headers: given }, atMs)
          assert.equal(line.indexOf('\n'), line.length - 1)
          const back = decodeStoredLine(Buffer.from(line.slice(0, -1)))
          assert.deepEqual(back, {
            key,
            value: body,
            headers: Object.assign(Object.create(null), given),
            timestampMs: atMs,
          })
        },
      ),
    )
  })

  it('are told from plain jobs and torn lines', () => {
    const line = encodeStoredLine(value('{}'), 0)
    for (const other of [
      '{"platform":"x"}',
      '',
      line.slice(0, 20),
      '{"key":1,"value":"","headers":{},"timestamp":"2026-01-01T00:00:00Z"}',
    ]) {
      assert.equal(decodeStoredLine(Buffer.from(other)), undefined)
    }
  })
})

describe('file publisher', () => {
  it('writes a line a record, and results as they are', async () => {
    await using place = await setup(['millrace.results'])
    await place.publisher.publish(
      'millrace.dead',
      [{ key: Buffer.from('k'), value: Buffer.from([0xff]), headers: { reason: Buffer.from('malformed') } }],
      never,
    )
    await place.publisher.publish('millrace.results', [value('{"job_id":"1"}'), value('{\n}')], never)
    assert.deepEqual(await place.lines('millrace.dead'), [
      '{"key":"k","value":{"base64":"/w=="},"headers":{"reason":"malformed"},"timestamp":"1970-01-01T00:00:00.000Z"}',
    ])
    assert.deepEqual(await place.lines('millrace.results'), [
      '{"job_id":"1"}',
      '{"key":null,"value":"{\\n}","headers":{},"timestamp":"1970-01-01T00:00:00.000Z"}',
    ])
  })

  it('keeps the order of concurrent calls and appends after a restart', async () => {
    await using place = await setup(['t'])
    await Promise.all(
      Array.from({ length: 500 }, (_, n) => place.publisher.publish('t', [value(`{"n":${n}}`)], never)),
    )
    await place.publisher.stop()
    await using again = new Again(place.folder)
    await again.publisher.publish('t', [value('{"n":500}')], never)
    assert.deepEqual(
      await place.lines('t'),
      Array.from({ length: 501 }, (_, n) => `{"n":${n}}`),
    )
  })

  it('cuts off a torn last line, completes one that is whole, leaves the rest alone', async () => {
    await using place = await setup(['torn', 'whole', 'all-torn'])
    await writeFile(join(place.folder, 'torn.ndjson'), '{"n":0}\n{"n":')
    await writeFile(join(place.folder, 'whole.ndjson'), '{"n":0}\n{"n":1}')
    await writeFile(join(place.folder, 'all-torn.ndjson'), '{"x":"'.padEnd(200_000, 'y'))
    for (const topic of ['torn', 'whole', 'all-torn'])
      await place.publisher.publish(topic, [value('{"n":2}')], never)
    assert.deepEqual(await place.lines('torn'), ['{"n":0}', '{"n":2}'])
    assert.deepEqual(await place.lines('whole'), ['{"n":0}', '{"n":1}', '{"n":2}'])
    assert.deepEqual(await place.lines('all-torn'), ['{"n":2}'])
    await appendFile(join(place.folder, 'torn.ndjson'), '{"n":3}\n')
    await place.publisher.publish('torn', [value('{"n":4}')], never)
    assert.deepEqual(await place.lines('torn'), ['{"n":0}', '{"n":2}', '{"n":3}', '{"n":4}'])
  })

  it('waits while it cannot write, says so, and goes on by itself', async () => {
    await using place = await setup(['t'])
    // A folder where the file should be: the cheapest disk that refuses.
    await mkdir(join(place.folder, 't.ndjson'))
    const publishing = place.publisher.publish('t', [value('{"n":0}')], never)
    await until(() => !place.publisher.healthy, 'the news that it cannot write')
    await rm(join(place.folder, 't.ndjson'), { recursive: true })
    await publishing
    assert.equal(place.publisher.healthy, true)
    assert.deepEqual(await place.lines('t'), ['{"n":0}'])
  })

  it('refuses a topic that would be another file', async () => {
    await using place = await setup()
    for (const topic of ['../x', 'a/b', '', '..']) {
      await assert.rejects(place.publisher.publish(topic, [value('x')], never), { code: 'TOPIC_NAME' })
    }
  })
})

class Again {
  readonly publisher: FilePublisher

  constructor(folder: string) {
    this.publisher = new FilePublisher({ folder, plainTopics: ['t'] }, silent)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.publisher.stop()
  }
}
