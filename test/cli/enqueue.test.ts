import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createKafkaClient } from '../../src/kafka/client.ts'
import { silent } from '../contract/source.ts'
import { Millrace } from '../daemon/process.ts'
import { realKafka } from '../daemon/real-configuration.ts'
import { need } from '../need.ts'

const job = (platform: string) => `${JSON.stringify({ platform, creator_id: '@ada', job_type: 'profile' })}\n`

test('jobs go to the topic of their platform, wrong ones are named and left out', async (t) => {
  const broker = need(t, 'kafka')
  if (broker === null) return
  const run = `enqueue${Date.now().toString(36)}`
  const folder = mkdtempSync(join(tmpdir(), 'millrace-enqueue-'))
  const admin = createKafkaClient({ brokers: [broker], clientId: run }, silent).admin()
  t.after(async () => {
    await admin.disconnect()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  await admin.connect()
  const topics = [`${run}.any`, { name: `${run}.youtube`, platform: 'youtube' }]
  writeFileSync(
    join(folder, 'millrace.yaml'),
    JSON.stringify({ kafka: { ...realKafka(run, broker), topics, partitions: 1 }, redis: {} }),
  )
  const enqueue = (args: string[], stdin = '') =>
    new Millrace(['enqueue', ...args], { cwd: folder, stdin }).ended
  const many = await enqueue(
    [],
    [job('youtube'), job('tiktok'), 'no job\n', job('youtube'), job('elsewhere')].join(''),
  )
  assert.equal(many.code, 1)
  assert.equal(many.stdout, `2 published to ${run}.youtube, 2 published to ${run}.any, 1 refused\n`)
  assert.match(many.stderr, /^line 3: found "no job", expected JSON$/m)
  const one = await enqueue(['youtube', '@ada', 'profile'])
  assert.deepEqual([one.code, one.stdout], [0, `1 published to ${run}.youtube\n`])
  const named = await enqueue(['--topic', `${run}.any`], job('youtube'))
  assert.deepEqual([named.code, named.stdout], [0, `1 published to ${run}.any\n`])
  const none = await enqueue([])
  assert.deepEqual([none.code, none.stdout], [0, '0 published\n'])
  const sizes = await Promise.all(
    ['any', 'youtube'].map(async (name) =>
      Number((await admin.fetchTopicOffsets(`${run}.${name}`))[0]?.high),
    ),
  )
  assert.deepEqual(sizes, [3, 3])
})
