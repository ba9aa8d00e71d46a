import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { type Event, type Operations, PLACES } from '../../examples/api-client/api-types.ts'
import { ApiError, MillraceClient } from '../../examples/api-client/client.ts'
import { openFilled, resultOf, startApi } from '../api/support.ts'
import { need } from '../need.ts'
import { command } from '../services/command.ts'
import { poll } from '../services/poll.ts'

test('the generated client asks for everything that the API has, and gets what its types say', async (t) => {
  const clickhouse = need(t, 'clickhouse')
  if (clickhouse === null) return
  const { engine } = await openFilled(
    t,
    clickhouse,
    Array.from({ length: 7 }, (_, n) => ({
      creatorId: `c${n}`,
      followers: 100 * (n + 1),
      rows: [
        {
          ...({ table: 'media', mediaId: 'm', kind: 'image', title: 'A post', publishedAtMs: 0 } as const),
          url: 'https://example.com/p',
        },
      ],
    })),
  )
  const { url, onResult } = await startApi(t, engine)
  const client = new MillraceClient(url)
  const asked = new Set<keyof Operations>()
  const ask: MillraceClient['ask'] = (operation, what) => {
    asked.add(operation)
    return client.ask(operation, what)
  }
  const path = { platform: 'instagram', id: 'c6' }

  assert.equal((await ask('health', {})).alive, true)
  // It rejects while the API is not ready, as it is for a moment when its database is slow.
  const ready = async () => (await ask('readiness', {})).ready || undefined
  await poll(ready, { withinMs: 60_000, what: 'the API is ready' })
  const page = await ask('listCreators', { query: { limit: 3, fields: 'followers' } })
  assert.deepEqual(page.items[0], { platform: 'instagram', creator_id: 'c6', followers: 700 })
  const everybody: string[] = []
  for await (const { creator_id } of client.creators({ limit: 2, sort: 'creator_id' }))
    everybody.push(creator_id)
  assert.deepEqual(everybody, ['c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6'])
  assert.equal((await ask('getCreator', { path })).numbers.followers, 700)
  assert.ok((await ask('getHistory', { path, query: { step: 'week' } })).points.length > 0)
  assert.equal((await ask('listMedia', { path })).items[0]?.title, 'A post')
  assert.equal((await ask('listTrending', { query: { window: '7d' } })).window, '7d')
  assert.equal((await ask('getDashboard', {})).platforms[0]?.creators, 7)
  const body = { platform: 'instagram', creator_id: 'c6', job_type: 'profile' } as const
  const { jobs } = await ask('requestScrapes', { body: { jobs: [body] }, idempotencyKey: 'once' })
  assert.deepEqual(
    (await ask('requestScrapes', { body: { jobs: [body] }, idempotencyKey: 'once' })).jobs,
    jobs,
  )
  const job = jobs[0]!.job_id
  assert.equal((await ask('getScrape', { path: { job_id: job } })).state, 'queued')

  asked.add('export')
  const chunks: Uint8Array[] = []
  for await (const chunk of await client.export({ what: 'creators', format: 'csv' })) chunks.push(chunk)
  assert.equal(Buffer.concat(chunks).toString().trim().split('\n').length, 8)

  asked.add('listen')
  const enough = new AbortController()
  const heard: (Event | null)[] = []
  // From the beginning: whether the stream is there before the event or after it, it is told.
  onResult(resultOf({ job_id: job, creator_id: 'c6', rows: 2 }))
  for await (const event of client.events({ kind: 'job', last_event_id: '1-0' }, enough.signal)) {
    heard.push(event)
    if (event?.job_id === job) enough.abort()
  }
  assert.equal(heard.at(-1)?.status, 'done')

  await assert.rejects(
    client.ask('getCreator', { path: { platform: 'instagram', id: 'nobody' } }),
    (error) => {
      assert.ok(error instanceof ApiError)
      assert.deepEqual([error.problem.code, error.problem.status], ['not_found', 404])
      return true
    },
  )
  assert.deepEqual([...asked].sort(), Object.keys(PLACES).sort(), 'nothing is left out')

  const script = fileURLToPath(new URL('../../examples/api-client/client.ts', import.meta.url))
  const printed = await command(process.execPath, [script, url], { withinMs: 60_000 })
  assert.match(printed, /^instagram: 7 creators with 2800 followers\n {2}instagram c6 700\n/)
})
