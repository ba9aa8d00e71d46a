import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '../../src/config/load.ts'
import { jobTopicOf, topicsOf } from '../../src/parts/topics.ts'

/** Where the follow-ups of each platform go, by what `kafka.topics` says. */
function followUpTopics(t: TestContext, topics: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-topics-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'millrace.yaml')
  writeFileSync(file, `kafka: { brokers: [localhost:9092], topics: ${topics} }\nlimits: { share: 1 }\n`)
  const config = loadConfig({ file, env: {} })
  const platforms = ['instagram', 'youtube', 'tiktok']
  return platforms.map((platform) => jobTopicOf(topicsOf(config, platforms), platform))
}

test('follow-up jobs never go where only another platform’s jobs are, unless there is nothing else', (t) => {
  const ig = '{ name: ig, platform: instagram }'
  const yt = '{ name: yt, platform: youtube }'
  assert.deepEqual(followUpTopics(t, '[a, b]'), ['a', 'a', 'a'])
  assert.deepEqual(followUpTopics(t, `[${ig}, ${yt}, rest]`), ['ig', 'yt', 'rest'])
  assert.deepEqual(followUpTopics(t, `[${ig}, ${yt}]`), ['ig', 'yt', 'ig'])
})
