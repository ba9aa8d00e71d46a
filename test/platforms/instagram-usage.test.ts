import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { instagram } from '../../src/platforms/instagram.ts'
import { jsonReply } from './recorded-context.ts'

const OWN = '17841405309211844'
const DAY_AND_A_BIT_MS = 26 * 60 * 60 * 1000

const adviceOf = (headers: Record<string, string>) =>
  instagram.advice?.(jsonReply('user_profile', 200, { id: '1' }, headers))

const app = (usage: unknown) => adviceOf({ 'x-app-usage': JSON.stringify(usage) })

const business = (...usages: unknown[]) =>
  adviceOf({ 'x-business-use-case-usage': JSON.stringify({ [OWN]: usages }) })

test('up to nine tenths of the usage there is nothing to say', () => {
  assert.equal(adviceOf({}), undefined)
  assert.equal(app({ call_count: 89, total_time: 25, total_cputime: 25 }), undefined)
  assert.equal(
    business({ type: 'instagram', call_count: 89, total_time: 1, estimated_time_to_regain_access: 0 }),
    undefined,
  )
})

test('from nine tenths on a share is advised that falls to a tenth', () => {
  assert.deepEqual(app({ call_count: 90 }), { share: 1 })
  assert.deepEqual(app({ call_count: 95 }), { share: 0.5 })
  assert.deepEqual(app({ call_count: 99 }), { share: 0.1 })
  assert.deepEqual(app({ call_count: 99.9 }), { share: 0.1 })
})

test('the highest of all percentages counts, whichever it is and wherever it stands', () => {
  for (const figure of ['call_count', 'total_time', 'total_cputime']) {
    const usage = { call_count: 1, total_time: 2, total_cputime: 3, [figure]: 95 }
    assert.deepEqual(app(usage), { share: 0.5 }, figure)
    assert.deepEqual(business({ call_count: 10 }, usage), { share: 0.5 }, figure)
  }
  const both = (ours: number, businesses: number) =>
    adviceOf({
      'x-app-usage': JSON.stringify({ call_count: ours }),
      'x-business-use-case-usage': JSON.stringify({
        1: [{ call_count: 20 }],
        2: [{ call_count: businesses }],
      }),
    })
  assert.deepEqual(both(95, 92), { share: 0.5 })
  assert.deepEqual(both(92, 95), { share: 0.5 })
})

test('when all is used it waits for as many minutes as it is told, or one', () => {
  assert.deepEqual(app({ call_count: 100 }), { blockMs: 60_000 })
  assert.deepEqual(app({ total_cputime: 180 }), { blockMs: 60_000 })
  assert.deepEqual(business({ call_count: 100, estimated_time_to_regain_access: 0 }), { blockMs: 60_000 })
  assert.deepEqual(
    business(
      { call_count: 100, estimated_time_to_regain_access: 19 },
      { call_count: 2, estimated_time_to_regain_access: 7 },
    ),
    { blockMs: 19 * 60_000 },
  )
})

test('access that is to be regained is a block at any usage', () => {
  assert.deepEqual(business({ call_count: 3, estimated_time_to_regain_access: 4 }), { blockMs: 240_000 })
  assert.deepEqual(business({ call_count: 95, estimated_time_to_regain_access: 4 }), {
    blockMs: 240_000,
    share: 0.5,
  })
})

test("the advertising APIs' usage is not ours", () => {
  const usage = JSON.stringify({ acc_id_util_pct: 100, reset_time_duration: 100 })
  assert.equal(adviceOf({ 'x-ad-account-usage': usage, 'x-fb-ads-insights-throttle': usage }), undefined)
})

test('a figure that cannot be read hides none of the others', () => {
  assert.deepEqual(app({ call_count: 'many', total_time: null, total_cputime: 95 }), { share: 0.5 })
  assert.deepEqual(
    business(null, 7, { call_count: -5 }, { call_count: 95, estimated_time_to_regain_access: 'soon' }),
    {
      share: 0.5,
    },
  )
  assert.deepEqual(
    adviceOf({
      'x-app-usage': '{"call_count":95}, {"call_count":10}',
      'x-business-use-case-usage': JSON.stringify({ 1: 'none', 2: [{ call_count: 92 }] }),
    }),
    { share: 0.8 },
  )
})

test('whatever the headers hold, it does not throw, and what it advises is within bounds', () => {
  const figures = fc.record(
    {
      call_count: fc.oneof(fc.double(), fc.integer({ min: 80, max: 110 }), fc.jsonValue()),
      total_time: fc.oneof(fc.double(), fc.jsonValue()),
      estimated_time_to_regain_access: fc.oneof(fc.double(), fc.nat(), fc.jsonValue()),
    },
    { requiredKeys: [] },
  )
  const header = fc.oneof(
    fc.string(),
    fc.json(),
    figures.map((usage) => JSON.stringify(usage)),
    fc
      .dictionary(fc.string(), fc.array(fc.oneof(figures, fc.jsonValue())))
      .map((usages) => JSON.stringify(usages)),
    fc.constantFrom('{"call_count":1e999}', '['.repeat(10_000), '{"__proto__":[{"call_count":100}]}'),
  )
  const seen = { blocks: 0, shares: 0 }
  fc.assert(
    fc.property(header, header, (ours, businesses) => {
      const found = adviceOf({ 'x-app-usage': ours, 'x-business-use-case-usage': businesses })
      if (found === undefined) return
      const { blockMs, share, ...rest } = found
      assert.deepEqual(rest, {})
      if (blockMs !== undefined) {
        seen.blocks++
        assert.ok(Number.isInteger(blockMs) && blockMs > 0 && blockMs <= DAY_AND_A_BIT_MS, `${blockMs}`)
      }
      if (share !== undefined) {
        seen.shares++
        assert.ok(share >= 0.1 && share <= 1, `${share}`)
      }
    }),
    { numRuns: 2000 },
  )
  assert.ok(seen.blocks > 0 && seen.shares > 0, `the junk says hardly anything: ${JSON.stringify(seen)}`)
})
