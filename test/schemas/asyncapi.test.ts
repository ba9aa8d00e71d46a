import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fromFile, Parser } from '@asyncapi/parser'
import { loadConfig } from '../../src/config/load.ts'
import { markOf } from '../../src/dead-letters/replayed.ts'
import { HEADERS } from '../../src/job/job.ts'
import type { OutRecord, SourceRecord } from '../../src/job/record.ts'
import { topicsOf } from '../../src/parts/topics.ts'
import { cutRecord, deadLetter, parkedRecord, retryRecord } from '../../src/pipeline/messages.ts'
import { PLAYED } from '../../src/simulator/options.ts'
import { readSchema, validator } from './validator.ts'

interface Message {
  readonly headers?: Record<string, unknown>
  readonly payload: Record<string, unknown>
}
const document = readSchema('asyncapi.json') as {
  readonly channels: Record<string, { address: string; parameters?: Record<string, { examples: string[] }> }>
  readonly components: { readonly messages: Record<string, Message> }
}

test('the AsyncAPI parser reads it with its references, and finds nothing', {
  timeout: 500_000,
}, async () => {
  const file = fileURLToPath(new URL('../../schemas/asyncapi.json', import.meta.url))
  const { document: parsed, diagnostics } = await fromFile(new Parser(), file).parse()
  const found = diagnostics.filter(({ code }) => code !== 'asyncapi-latest-version')
  assert.deepEqual(
    found.map(({ path, message }) => `${path.join('.')}: ${message}`),
    [],
  )
  const payload = parsed?.components().messages().get('job')?.payload()
  assert.ok(payload?.properties()?.creator_id, 'the payload is followed into job.schema.json')
  assert.equal(parsed?.operations().filterBySend().length, 6)
})

test('its topics are those that a daemon with the default names uses', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-asyncapi-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'millrace.yaml')
  writeFileSync(file, 'kafka: { brokers: [localhost:9092] }\nlimits: { share: 1 }\n')
  const topics = topicsOf(loadConfig({ file, env: {} }), PLAYED)
  const used = [
    ...topics.jobs.map(({ name }) => name),
    ...topics.retry.map(({ topic }) => topic),
    ...topics.parked.values(),
    ...[topics.results, topics.dead, topics.replayed],
  ]
  const named = Object.values(document.channels).flatMap(({ address, parameters = {} }) => {
    const [[name, { examples }] = ['', { examples: [''] }]] = Object.entries(parameters)
    return examples.map((example) => address.replace(`{${name}}`, example))
  })
  assert.deepEqual(named.sort(), used.sort())
})

const record: SourceRecord = {
  topic: 'millrace.jobs',
  partition: 3,
  offset: 41,
  timestampMs: 1_700_000_000_000,
  key: Buffer.from('youtube:UC1'),
  value: Buffer.from('{"platform":"youtube"'),
  headers: {
    campaign: Buffer.from('spring'),
    traceparent: Buffer.from('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
    [HEADERS.replayOf]: Buffer.from('0-12'),
    [HEADERS.replayedAt]: Buffer.from('1700000000000'),
  },
}
const trouble = { reason: 'malformed', message: 'no', attempts: 1, throttled: 0 } as const
const writer = { group: 'millrace', version: '0.1.0' }

const written: readonly (readonly [string, OutRecord])[] = [
  ['deadLetter', deadLetter(record, trouble, writer)],
  ['deadLetter', cutRecord(deadLetter({ ...record, value: Buffer.alloc(70_000) }, trouble, writer))],
  ['retry', retryRecord(record, { ...trouble, dueAtMs: 1_700_000_060_000 }, writer)],
  ['parked', parkedRecord(record, 1_700_000_000_000)],
]

for (const [name, { headers }] of written) {
  test(`headers of a real ${name} are as described, and every one of ours is`, () => {
    const schema = document.components.messages[name]!.headers!
    const text = Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, String(value)]))
    const check = validator(schema)
    assert.ok(check(text), JSON.stringify(check.errors))
    const described = Object.keys(schema.properties as object)
    for (const header of Object.keys(text)) {
      if (header.startsWith('millrace-')) assert.ok(described.includes(header), header)
    }
    // The check is one: a header that is missing, or is something else, does not pass.
    assert.equal(check({ ...text, [HEADERS.originalOffset]: 'last' }), false)
    const { [HEADERS.originalTopic]: _topic, ...without } = text
    assert.equal(check(without), false)
  })
}

test('the mark of a replayed letter is as described', () => {
  const mark = markOf(
    { id: { partition: 3, offset: 1207 }, atMs: 1 },
    { topic: 'millrace.jobs', atMs: 1_700_000_000_000 },
  )
  const check = validator(document.components.messages.replayed!.payload)
  assert.ok(check(JSON.parse(String(mark.value))), JSON.stringify(check.errors))
})
