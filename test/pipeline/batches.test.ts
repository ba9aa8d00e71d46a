import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AttemptError } from '../../src/job/errors.ts'
import type { CallOptions } from '../../src/job/platform.ts'
import type { Batch } from '../../src/pipeline/batch.ts'
import { Batches } from '../../src/pipeline/batches.ts'
import type { Errand } from '../../src/pipeline/errand.ts'
import { InTheWayError } from '../../src/pipeline/permit-desk.ts'
import { Standing } from '../../src/pipeline/standing.ts'

/** A call on its way: it waits until it is granted, and is answered then. */
class Sent {
  readonly batch: Batch
  readonly #options: () => CallOptions
  readonly #end = Promise.withResolvers<{ data: unknown }>()
  readonly reply: Promise<{ data: unknown }> = this.#end.promise
  /** What it asked for; undefined while it waits. */
  ids: readonly string[] | undefined

  constructor(batch: Batch, options: () => CallOptions) {
    this.batch = batch
    this.#options = options
    // As the desk and the engine: a call that nobody needs ends at once.
    batch.signal.addEventListener('abort', () => this.#end.reject(batch.signal.reason))
  }

  /** As an attempt of the upstream: what it asks for is settled under the permit, then it is on its way. */
  grant(): readonly string[] {
    const asked = String(this.#options().query?.id)
    this.ids = asked === '' ? [] : asked.split(',')
    this.batch.standing.moves()
    this.batch.calls++
    return this.ids
  }

  answer(known: (id: string) => boolean = () => true): void {
    this.batch.observedAtMs = 7
    const items = (this.ids ?? []).filter(known).map((id) => ({ id, of: id }))
    this.#end.resolve({ data: { items: items.reverse() } })
  }

  fail(error: unknown): void {
    this.#end.reject(error)
  }
}

/** What the permit desk and the upstream are to batches, moved by hand. */
class Calls {
  readonly sent: Sent[] = []
  readonly sizes: number[] = []
  readonly batches = new Batches({
    send: (errand, _endpoint, options) => {
      errand.standing.waits()
      const sent = new Sent(errand as Batch, options)
      this.sent.push(sent)
      return sent.reply
    },
    onSent: (_endpoint, ids) => void this.sizes.push(ids),
  })

  join(errand: Errand, ids: readonly string[], max = 3, part = 'a') {
    const batch = { query: 'id', max, items: 'items', id: 'id' }
    return this.batches.join(errand, { endpoint: 'things', batch, options: { query: { part } } }, ids)
  }
}

type Job = Errand & { readonly end: AbortController; waits: boolean; inTheWay: boolean }

function job(more: { priority?: number; expiresAtMs?: number; calls?: number } = {}): Job {
  const end = new AbortController()
  const one: Job = {
    priority: 5,
    sinceMs: 0,
    expiresAtMs: Number.POSITIVE_INFINITY,
    calls: 0,
    ...more,
    end,
    signal: end.signal,
    tally: { attempts: 0, throttled: 0, badResponses: 0 },
    waits: true,
    inTheWay: false,
    standing: new Standing((waits) => {
      one.waits = waits
    }),
    isInTheWay: () => one.inTheWay,
    renewed: undefined,
    observedAtMs: 0,
    creatorId: 'c',
  }
  one.standing.waits()
  return one
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

test('jobs join a call until its permit is there, each gets its own items, and the next ones get the next call', async () => {
  const calls = new Calls()
  const [ada, bob, eve] = [job(), job(), job()]
  const ofAda = calls.join(ada, ['1'])
  const ofBob = calls.join(bob, ['2', '1'])
  await settled()
  assert.equal(calls.sent.length, 1)
  const [first] = calls.sent
  assert.deepEqual(first!.grant(), ['1', '2'], 'what two ask for is asked for once')
  const ofEve = calls.join(eve, ['3'])
  first!.answer((id) => id !== '2')
  assert.deepEqual([...(await ofAda)], [['1', { id: '1', of: '1' }]])
  assert.deepEqual([...(await ofBob).keys()], ['1'], 'what is not found is missing')
  assert.deepEqual([ada.calls, ada.waits, ada.observedAtMs], [1, false, 7])
  assert.deepEqual([eve.calls, eve.waits, eve.observedAtMs], [0, true, 0])
  calls.sent[1]!.grant()
  calls.sent[1]!.answer()
  assert.deepEqual([...(await ofEve).keys()], ['3'])
  assert.equal(calls.batches.open, 0)
  assert.deepEqual(calls.sizes, [2, 1])
})

test('only what may go together shares a call: the same options, the same priority, not more than fit', async () => {
  const calls = new Calls()
  const all = [
    calls.join(job(), ['1', '2']),
    calls.join(job(), ['3', '4']),
    calls.join(job(), ['5'], 3, 'b'),
    calls.join(job({ priority: 9 }), ['6']),
    calls.join(job({ calls: 1 }), ['7']),
  ]
  await settled()
  assert.equal(calls.sent.length, 5)
  assert.deepEqual(calls.sent[2]!.grant(), ['5'])
  assert.deepEqual(calls.sent[3]!.grant(), ['6', '1', '2'], 'free places are given to whoever waits longest')
  await settled()
  assert.deepEqual(calls.sent[1]!.grant(), ['3', '4', '7'])
  for (const at of [1, 2, 3]) calls.sent[at]!.answer()
  const found = await Promise.all(all)
  assert.deepEqual(
    found.map((items) => [...items.keys()].join()),
    ['1,2', '3,4', '5', '6', '7'],
  )
  assert.equal(calls.batches.open, 0)
  // Their jobs went with others: the permits that they waited for are not asked for any more.
  assert.ok(calls.sent[0]!.batch.signal.aborted && calls.sent[4]!.batch.signal.aborted)
})

test('a job that is given up leaves the call to the others; without any the call is given up', async () => {
  const calls = new Calls()
  const [ada, bob, eve] = [job(), job(), job()]
  const ofAda = calls.join(ada, ['1'])
  const ofBob = calls.join(bob, ['2'])
  ada.end.abort(new Error('lost'))
  await assert.rejects(ofAda, /lost/)
  const [first] = calls.sent
  assert.deepEqual(first!.grant(), ['2'])
  assert.ok(!first!.batch.signal.aborted)
  bob.end.abort(new Error('drained'))
  await assert.rejects(ofBob, /drained/)
  assert.ok(first!.batch.signal.aborted)
  await assert.rejects(calls.join(ada, ['1']), /lost/)
  const ofEve = calls.join(eve, ['3'])
  calls.sent[1]!.grant()
  calls.sent[1]!.answer()
  assert.equal((await ofEve).size, 1)
})

test('whose time is over, and who is in the way, leaves while the others wait on', async () => {
  const calls = new Calls()
  const late = job({ expiresAtMs: 1 })
  const wide = job()
  const [ofLate, ofWide, ofOther] = [
    calls.join(late, ['1']),
    calls.join(wide, ['2']),
    calls.join(job(), ['3']),
  ]
  wide.inTheWay = true
  const rejections = Promise.all([
    assert.rejects(ofLate, (error) => error instanceof AttemptError && error.reason === 'expired'),
    assert.rejects(ofWide, (error) => error instanceof InTheWayError),
  ])
  assert.equal(calls.sent[0]!.batch.isInTheWay(), false)
  await rejections
  assert.deepEqual(calls.sent[0]!.grant(), ['3'])
  calls.sent[0]!.answer()
  await ofOther
})

test('a call that nobody needs any more when its permit comes takes nobody along', async () => {
  const calls = new Calls()
  const ofLate = assert.rejects(calls.join(job({ expiresAtMs: 1 }), ['1']), /expires_at/)
  const ofOther = calls.join(job({ priority: 9 }), ['2'])
  assert.deepEqual(calls.sent[0]!.grant(), [])
  await ofLate
  assert.deepEqual(calls.sent[1]!.grant(), ['2'])
  calls.sent[1]!.answer()
  assert.equal((await ofOther).size, 1)
})

test('a failure that is everybody’s is the same error for all', async () => {
  const calls = new Calls()
  const all = [calls.join(job(), ['1']), calls.join(job(), ['2'])]
  calls.sent[0]!.grant()
  const error = new AttemptError('upstream_error', 'status 503')
  calls.sent[0]!.fail(error)
  const ends = await Promise.allSettled(all)
  assert.ok(ends.every((end) => end.status === 'rejected' && end.reason === error))
  assert.equal(calls.sent.length, 1)
})

test('one bad id among fifty costs its own job only, and few calls', async () => {
  const calls = new Calls()
  const all = Promise.allSettled(Array.from({ length: 50 }, (_, at) => calls.join(job(), [`${at}`], 50)))
  await settled()
  for (let at = 0; at < calls.sent.length; at += 1) {
    const sent = calls.sent[at]!
    const ids = sent.grant()
    if (ids.includes('33')) sent.fail(new AttemptError('private', 'channelForbidden'))
    else sent.answer()
    await settled()
  }
  const ends = await all
  assert.deepEqual(
    ends.flatMap(({ status }, at) => (status === 'rejected' ? [at] : [])),
    [33],
  )
  assert.ok(calls.sent.length <= 13, `${calls.sent.length} calls`)
})

/** What happens next: a job joins, one is given up, a call gets its permit, or is answered, or fails. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('join' as const),
      ids: fc.uniqueArray(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 4 }),
      priority: fc.constantFrom(5, 9),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('give up' as const), at: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('grant' as const), at: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('answer' as const), at: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('fail' as const),
      at: fc.nat(),
      reason: fc.constantFrom('timeout', 'bad_response', 'rate_limited', 'not_found'),
    }),
  },
)

/** Some things happen in one turn of the loop, before anybody has heard of the one before. */
const steps = fc.array(fc.record({ one: step, andThen: fc.constantFrom('settle', 'settle', 'at once') }), {
  maxLength: 40,
})

test('whatever happens, every job gets exactly its own items, or exactly one error', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (history) => {
      const MAX = 4
      const calls = new Calls()
      const jobs: { errand: Job; ids: readonly string[]; end: Promise<unknown>; ends: number }[] = []
      /** Calls that were given up are nobody's to answer. */
      const live = (isGranted: boolean) =>
        calls.sent.filter(
          ({ batch, ids }) => !batch.signal.aborted && !batch.isEmpty && (ids !== undefined) === isGranted,
        )
      const grant = (sent: Sent) => {
        const waiting = new Set(calls.sent.flatMap(({ batch }) => batch.orders.flatMap(({ ids }) => ids)))
        const ids = sent.grant()
        assert.ok(ids.length > 0 && ids.length <= MAX, `a call of ${ids.length} ids`)
        assert.equal(new Set(ids).size, ids.length, 'an id twice')
        assert.ok(
          ids.every((id) => waiting.has(id)),
          'an id that nobody waits for',
        )
      }
      // An odd id is not known over there.
      const known = (id: string) => Number(id) % 2 === 0
      for (const { one, andThen } of history) {
        const pick = (from: readonly Sent[]) => ('at' in one ? from[one.at % from.length] : undefined)
        if (one.do === 'join') {
          const errand = job({ priority: one.priority })
          const ids = one.ids.map(String)
          const entry = { errand, ids, ends: 0, end: Promise.resolve() as Promise<unknown> }
          entry.end = calls.join(errand, ids, MAX).finally(() => {
            entry.ends += 1
          })
          entry.end.catch(() => {})
          jobs.push(entry)
        } else if (one.do === 'give up') {
          const left = jobs.filter(({ ends }) => ends === 0)
          left[one.at % left.length]?.errand.end.abort(new Error('given up'))
        } else if (one.do === 'grant') {
          const sent = pick(live(false))
          if (sent !== undefined) grant(sent)
        } else if (one.do === 'answer') pick(live(true))?.answer(known)
        else pick(live(true))?.fail(new AttemptError(one.reason as 'timeout', 'as it happens'))
        if (andThen === 'settle') await settled()
      }
      await settled()
      // What is left is granted and answered.
      while (live(false).length + live(true).length > 0) {
        for (const sent of live(false)) if (!sent.batch.isEmpty) grant(sent)
        for (const sent of live(true)) sent.answer(known)
        await settled()
      }
      for (const { errand, ids, end, ends } of jobs) {
        assert.equal(ends, 1)
        const [outcome] = await Promise.allSettled([end])
        if (outcome.status === 'fulfilled') {
          const items = outcome.value as ReadonlyMap<string, { of: string }>
          assert.deepEqual([...items.keys()], ids.filter(known))
          for (const [id, item] of items) assert.equal(item.of, id)
          assert.ok(errand.calls > 0 && !errand.waits && errand.observedAtMs === 7)
        } else if (errand.signal.aborted) assert.equal(outcome.reason, errand.signal.reason)
        else assert.ok(outcome.reason instanceof AttemptError)
      }
      assert.equal(calls.batches.open, 0)
      assert.ok(calls.sent.every(({ batch }) => batch.isEmpty))
    }),
    { numRuns: 500 },
  )
})
