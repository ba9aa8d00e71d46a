import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { MillraceError } from '../../src/job/errors.ts'
import type { Platform } from '../../src/job/platform.ts'
import { definePlatform } from '../../src/platforms/define.ts'
import { jobOf, recordedContext } from './recorded-context.ts'

const notes = definePlatform({
  name: 'notes',
  origin: 'https://notes.example/api',
  credentials: z.object({ key: z.string() }),
  endpoints: {
    note: { path: '/notes/:id', response: z.object({ stars: z.number(), next: z.string().optional() }) },
    token: { path: '/token', method: 'POST', response: z.object({ token: z.string() }), authorised: false },
    found: {
      path: '/notes',
      response: z.object({
        data: z.object({ notes: z.array(z.object({ no: z.number(), stars: z.number() })) }),
      }),
      batch: { query: 'nos', max: 10, items: 'data.notes', id: 'no' },
    },
  },
  async authorise({ key }, { get }) {
    const reply = await get('token', { form: { key: key.trim() } })
    return { headers: { authorization: reply.token.toUpperCase() } }
  },
  jobs: {
    stars: {
      params: z.object({ factor: z.int().default(2) }),
      calls: { note: 2.5 },
      async run(job, { get, paginate }) {
        const { stars } = await get('note', { path: { id: job.creatorId } })
        let sum = stars * job.params.factor
        const next = (page: { next?: string | undefined }) =>
          page.next ? { path: { id: page.next } } : undefined
        for await (const page of paginate('note', { path: { id: 'a' } }, next)) sum += page.stars
        return { data: sum }
      },
    },
    most: {
      params: z.object({ nos: z.array(z.string()) }),
      async run(job, { getMany }) {
        const notes = await getMany('found', job.params.nos, { query: { lang: 'en' } })
        return { data: [...notes].map(([no, { stars }]) => `${no}: ${stars.toFixed(1)}`) }
      },
    },
  },
})

test('endpoint names, replies and params keep their types inside and outside of a platform', async () => {
  const { context, calls } = recordedContext(notes, {
    note: [{ stars: 3 }, { stars: 1, next: 'b' }, { stars: 1 }],
  })
  const harvest = await notes.jobs.stars.run(jobOf(notes.jobs.stars, 'x', {}), context)
  assert.equal(harvest.data, 8)
  assert.deepEqual(
    calls.map((call) => call.path?.id),
    ['x', 'a', 'b'],
  )

  // Only the compiler looks at what follows.
  const held: Platform[] = [notes]
  assert.equal(held.length, 1)
  const wrong = () => {
    // @ts-expect-error: there is no such endpoint
    void context.get('nothing')
    // @ts-expect-error: factor is a number
    jobOf(notes.jobs.stars, 'x', { factor: 'two' })
    // @ts-expect-error: calls are declared of endpoints that there are
    definePlatform({ ...notes, jobs: { stars: { ...notes.jobs.stars, calls: { nothing: 1 } } } })
  }
  assert.equal(typeof wrong, 'function')
})

test('items of a batched endpoint come by id, in the order asked, with their types', async () => {
  const { context, calls } = recordedContext(notes, {
    found: [{ data: { notes: [3, 1].map((no) => ({ no, stars: no })) } }],
  })
  const { most } = notes.jobs
  const { data } = await most.run(jobOf(most, 'x', { nos: ['1', '2', '3'] }), context)
  assert.deepEqual(data, ['1: 1.0', '3: 3.0'])
  assert.deepEqual(calls[0]?.query, { lang: 'en', nos: '1,2,3' })

  // Only the compiler looks at what follows.
  const wrong = () => {
    // @ts-expect-error: it answers for one at a time
    void context.getMany('note', ['1'])
    // @ts-expect-error: there is no such field
    void context.getMany('found', ['1']).then((found) => found.get('1')?.moons)
  }
  assert.equal(typeof wrong, 'function')
})

test('names everything that is wrong with a definition at once', () => {
  const broken = {
    name: 'My Notes',
    origin: 'notes.example',
    credentials: {},
    throttled: 429,
    advice: 'slowly',
    endpoints: {
      Note: { path: '/a', response: z.any() },
      list: { path: 'list?all=1', method: 'PUT', cost: 0 },
      item: { path: '/items/:itemId', response: z.any() },
      part: { path: '/items/:v2/:', response: z.any() },
      fine: { path: '/items/:item_id.json/:part', response: z.any() },
      many: { path: '/items', response: z.any(), batch: { query: '', max: 1, items: ['items'] } },
      more: { path: '/items', response: z.any(), batch: 50 },
    },
    jobs: {
      stars: { params: {}, calls: { list: 0, lists: 1 } },
      moons: { params: z.object({}), run() {}, calls: 3 },
    },
  }
  assert.throws(
    () => definePlatform(broken as never),
    (error) => {
      assert.ok(error instanceof MillraceError)
      assert.equal(error.kind, 'usage')
      assert.equal(error.code, 'PLATFORM_INVALID')
      for (const part of [
        'name "My Notes"',
        'origin "notes.example"',
        'credentials: expected a zod schema',
        'throttled: found 429, expected a function',
        'advice: found "slowly", expected a function',
        'endpoints.Note: expected a lower-case word',
        'endpoints.list.path "list?all=1"',
        'endpoints.list.method "PUT"',
        'endpoints.list.cost 0',
        'endpoints.list.response',
        'endpoints.item.path "/items/:itemId": expected parts named in a-z and _ only, such as :user_id',
        'endpoints.part.path "/items/:v2/:": expected parts',
        'endpoints.many.batch.query "": expected the name of the parameter that takes the ids',
        'endpoints.many.batch.max 1: expected the most ids of one call, 2 to 200',
        'endpoints.many.batch.items ["items"]: expected the name of the list in a reply',
        "endpoints.many.batch.id nothing: expected the name of an item's id",
        'endpoints.more.batch: found 50, expected { query, max, items, id }',
        'jobs.stars.params',
        'jobs.stars.run: found nothing, expected a function',
        'jobs.stars.calls.list 0: expected a number above 0',
        'jobs.stars.calls.lists: no such endpoint; expected one of Note, list, item, part, fine, many, more',
        'jobs.moons.calls: found 3, expected the number of calls by endpoint',
      ]) {
        assert.ok(error.message.includes(part), `${part} is not in: ${error.message}`)
      }
      assert.doesNotMatch(error.message, /endpoints\.fine/)
      return true
    },
  )
})

test('a platform needs an endpoint and a job type', () => {
  const empty = {
    name: 'empty',
    origin: 'http://localhost:1',
    credentials: z.object({}),
    endpoints: {},
    jobs: {},
  }
  assert.throws(() => definePlatform(empty), /at least one endpoint.*at least one job type/)
  assert.throws(() => definePlatform(null as never), /found null, expected what definePlatform/)
})

test('a definition cannot be changed afterwards', () => {
  assert.ok(Object.isFrozen(notes))
})
