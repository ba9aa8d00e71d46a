import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { adviceOf } from '../../src/fetch/rate-headers.ts'
import { retryAfterMs } from '../../src/fetch/retry-after.ts'

const NOW = Date.UTC(2026, 4, 1, 12, 0, 0)
const DAY_AND_A_BIT_MS = 26 * 60 * 60 * 1000

type Headers = Parameters<typeof adviceOf>[0]
const advice = (headers: Headers) => adviceOf(headers, NOW)
const policies = (text: string) => advice({ 'ratelimit-policy': text })

test('calls that are left are no block, and the policy is told all the same', () => {
  assert.deepEqual(advice({ ratelimit: '"default";r=50;t=30', 'ratelimit-policy': '"default";q=100;w=60' }), {
    policy: { limit: 100, windowMs: 60_000 },
  })
  assert.equal(advice({ ratelimit: '"default";r=50;t=30' }), undefined)
  assert.equal(advice({}), undefined)
})

test('where nothing is left it waits for the last of the exhausted policies, and for no other', () => {
  assert.deepEqual(advice({ ratelimit: '"a";r=0;t=5, "b";r=0;t=40, "c";r=1;t=9000' }), { spentMs: 40_000 })
  assert.deepEqual(advice({ ratelimit: ['"a";r=0;t=5', '"b";r=0;t=40'] }), { spentMs: 40_000 })
  assert.deepEqual(advice({ ratelimit: 'a; t=7 ;R=0' }), { spentMs: 7000 }, 'as servers write it')
})

test('blocks only for what is said, unlike after a refusal', () => {
  const silent = { ratelimit: '"day";r=0', 'ratelimit-policy': '"day";q=1000;w=86400' }
  assert.equal(advice(silent)?.spentMs, undefined)
  assert.equal(retryAfterMs(silent, NOW), 86_400_000)
  for (const headers of [
    { ratelimit: '"a";t=30' },
    { 'ratelimit-reset': '30' },
    { 'x-ratelimit-reset': '30' },
  ]) {
    assert.equal(advice(headers), undefined, JSON.stringify(headers))
    assert.equal(retryAfterMs(headers, NOW), 30_000, JSON.stringify(headers))
  }
})

test('limits on anything but requests are passed over', () => {
  const headers = {
    ratelimit: '"volume";r=0;t=60, "parallel";r=0;t=1, "default";r=0;t=2',
    'ratelimit-policy':
      '"volume";q=1;qu="content-bytes";w=60, "parallel";q=1;qu="concurrent-requests";w=60, "default";q=9;qu="requests";w=60',
  }
  assert.deepEqual(advice(headers), { spentMs: 2000, policy: { limit: 9, windowMs: 60_000 } })
  assert.equal(retryAfterMs(headers, NOW), 60_000, 'who is refused has to wait for those too')
})

test('of several policies the one with the lowest sustained rate counts', () => {
  assert.deepEqual(policies('"s";q=10;w=1, "m";q=100;w=60, "h";q=4000;w=3600')?.policy, {
    limit: 4000,
    windowMs: 3_600_000,
  })
  assert.deepEqual(policies('"m";q=60;w=60, "s";q=1;w=1')?.policy, { limit: 60, windowMs: 60_000 })
  assert.deepEqual(policies('"s";q=1;w=1, "m";q=60;w=60')?.policy, { limit: 60, windowMs: 60_000 })
})

test('a quota over more than an hour sets no pace where there is a policy that does', () => {
  assert.deepEqual(policies('"day";q=1000;w=86400, "burst";q=100;w=60')?.policy, {
    limit: 100,
    windowMs: 60_000,
  })
  assert.deepEqual(policies('"burst";q=100;w=60, "day";q=1000;w=86400')?.policy, {
    limit: 100,
    windowMs: 60_000,
  })
  assert.deepEqual(policies('"day";q=1000;w=86400')?.policy, { limit: 1000, windowMs: 86_400_000 })
})

test('a policy without a quota or a window is none', () => {
  for (const text of [
    '"a";q=10',
    '"a";w=60',
    '"a";q=0;w=60',
    '"a";q=10;w=0',
    '"a";q=-1;w=60',
    '"a";q=1.5;w=60',
    '"a"',
  ])
    assert.equal(policies(text), undefined, text)
})

test('names may hold what separates, and be repeated', () => {
  assert.deepEqual(
    advice({
      ratelimit: '"5, in;w=1 \\"min\\"";r=0;t=3;pk=:cHsd/Q==:',
      'ratelimit-policy': '"5, in;w=1 \\"min\\"";q=5;w=60;pk=:cHsd/Q==:',
    }),
    { spentMs: 3000, policy: { limit: 5, windowMs: 60_000 } },
  )
  assert.deepEqual(advice({ ratelimit: '"a";r=0;t=5, "a";r=0;t=6, "a";r=3;t=9' }), { spentMs: 6000 })
  assert.deepEqual(
    advice({ ratelimit: '"a";r=3;r=0;t=5;t=6' }),
    { spentMs: 6000 },
    'the last of a parameter counts',
  )
})

test('reads the drafts before', () => {
  assert.deepEqual(advice({ ratelimit: 'limit=100, remaining=0, reset=7', 'ratelimit-policy': '100;w=60' }), {
    spentMs: 7000,
    policy: { limit: 100, windowMs: 60_000 },
  })
  assert.equal(advice({ ratelimit: 'limit=100, remaining=5, reset=7' }), undefined)
  assert.deepEqual(
    advice({ 'ratelimit-limit': '100, 100;w=60', 'ratelimit-remaining': '0', 'ratelimit-reset': '8' }),
    { spentMs: 8000, policy: { limit: 100, windowMs: 60_000 } },
  )
  assert.deepEqual(
    advice({ 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600', 'ratelimit-reset': '8' }),
    { policy: { limit: 100, windowMs: 21_600_000 } },
  )
  assert.deepEqual(advice({ 'ratelimit-remaining': '0;w=21600', 'ratelimit-reset': '8' }), { spentMs: 8000 })
})

test('reads X-RateLimit in both spellings, with each meaning of its reset, and no policy', () => {
  for (const reset of ['30', String(NOW / 1000 + 30), String(NOW + 30_000)]) {
    for (const prefix of ['x-ratelimit', 'x-rate-limit']) {
      const headers = { [`${prefix}-limit`]: '60', [`${prefix}-reset`]: reset }
      assert.deepEqual(advice({ ...headers, [`${prefix}-remaining`]: '0' }), { spentMs: 30_000 })
      assert.equal(advice({ ...headers, [`${prefix}-remaining`]: '1' }), undefined)
    }
  }
  assert.equal(
    advice({ 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(NOW / 1000 - 30) }),
    undefined,
  )
})

test('Retry-After on a success is a block, and wins', () => {
  assert.deepEqual(advice({ 'retry-after': '3' }), { blockMs: 3000 })
  assert.deepEqual(advice({ 'retry-after': 'Fri, 01 May 2026 12:01:30 GMT' }), { blockMs: 90_000 })
  assert.deepEqual(
    advice({ 'retry-after': '3', ratelimit: '"a";r=0;t=50', 'ratelimit-policy': '"a";q=1;w=60' }),
    {
      blockMs: 3000,
      policy: { limit: 1, windowMs: 60_000 },
    },
  )
  assert.equal(advice({ 'retry-after': '0' }), undefined)
  assert.deepEqual(advice({ 'retry-after': '9'.repeat(400) }), { blockMs: DAY_AND_A_BIT_MS })
})

test('reads sixteen policies of ten thousand, and nothing of a field that is too long', () => {
  const many = Array.from({ length: 10_000 }, (_, n) => `"p${n}";r=0;t=${n + 1};q=${10_000 - n};w=60`)
  assert.deepEqual(advice({ ratelimit: many, 'ratelimit-policy': many }), {
    spentMs: 16_000,
    policy: { limit: 9985, windowMs: 60_000 },
  })
  assert.equal(advice({ ratelimit: many.join(), 'ratelimit-policy': many.join() }), undefined)
})

// Junk that looks like what is read, so that more of it gets past the first check.
const number = fc.oneof(
  fc.nat(100_000).map(String),
  fc.integer().map(String),
  fc.double().map(String),
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
  fc.constantFrom('0', '-0', '00', '1e9', 'NaN', 'Infinity', '', '"5"', '0x10', ' 7 '),
)
const parameter = fc
  .tuple(fc.constantFrom(...'rtqwrtqw', 'qu', 'pk', 'limit', 'remaining', 'reset'), number)
  .map(([key, value]) => `${key}=${value}`)
const name = fc.oneof(fc.constantFrom('"a"', 'a', '"', '"\\', '10', ''), fc.string())
const member = fc.tuple(name, fc.array(parameter)).map(([first, rest]) => [first, ...rest].join(';'))
const list = fc.array(member).map((members) => members.join(', '))
const value = fc.oneof(fc.string(), number, list, fc.array(fc.oneof(number, list)))
const headers = fc.dictionary(
  fc.constantFrom(
    ...['retry-after', 'date', 'ratelimit', 'ratelimit-policy', 'ratelimit-limit', 'ratelimit-remaining'],
    ...[
      'ratelimit-reset',
      'x-ratelimit-remaining',
      'x-ratelimit-reset',
      'x-rate-limit-remaining',
      'x-rate-limit-reset',
    ],
  ),
  value,
)

test('whatever the headers hold, it does not throw, and what it advises is within bounds', () => {
  let blocks = 0
  let stated = 0
  fc.assert(
    fc.property(headers, fc.integer({ min: 0, max: 1e13 }), (junk, nowMs) => {
      const found = adviceOf(junk, nowMs)
      const wait = retryAfterMs(junk, nowMs)
      assert.ok(wait === undefined || (wait >= 0 && wait <= DAY_AND_A_BIT_MS), `${wait}`)
      if (found === undefined) return
      const { blockMs, spentMs, policy, ...rest } = found
      assert.deepEqual(rest, {})
      assert.ok(blockMs === undefined || spentMs === undefined)
      const ms = blockMs ?? spentMs
      if (ms !== undefined) {
        blocks++
        assert.ok(Number.isInteger(ms) && ms > 0 && ms <= DAY_AND_A_BIT_MS, `${ms}`)
      }
      if (policy !== undefined) {
        stated++
        assert.ok(Number.isSafeInteger(policy.limit) && policy.limit > 0, `${policy.limit}`)
        assert.ok(Number.isFinite(policy.windowMs) && policy.windowMs > 0, `${policy.windowMs}`)
      }
    }),
    { numRuns: 3000 },
  )
  assert.ok(blocks > 0 && stated > 0, `the junk says hardly anything: ${blocks} blocks, ${stated} policies`)
})
