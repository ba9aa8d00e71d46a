import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseHttpDate } from '../../src/fetch/http-date.ts'
import { retryAfterMs } from '../../src/fetch/retry-after.ts'

const NOW = Date.UTC(2026, 4, 1, 12, 0, 0)

test('reads Retry-After as seconds and as each form of an HTTP date', () => {
  assert.equal(retryAfterMs({ 'retry-after': '120' }, NOW), 120_000)
  assert.equal(retryAfterMs({ 'retry-after': 'Fri, 01 May 2026 12:01:30 GMT' }, NOW), 90_000)
  assert.equal(retryAfterMs({ 'retry-after': 'Friday, 01-May-26 12:01:30 GMT' }, NOW), 90_000)
  assert.equal(retryAfterMs({ 'retry-after': 'Fri May  1 12:01:30 2026' }, NOW), 90_000)
  assert.equal(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT'), 784_111_777_000)
  assert.equal(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT'), 784_111_777_000)
})

test('a date in the past is no wait, and a far one is bounded', () => {
  assert.equal(retryAfterMs({ 'retry-after': 'Fri, 01 May 2026 11:00:00 GMT' }, NOW), 0)
  assert.equal(retryAfterMs({ 'retry-after': '99999999999' }, NOW, 60_000), 60_000)
})

test("measures dates by the upstream's clock where it tells it", () => {
  const headers = {
    date: 'Fri, 01 May 2026 12:10:00 GMT',
    'retry-after': 'Fri, 01 May 2026 12:10:05 GMT',
  }
  assert.equal(retryAfterMs(headers, NOW), 5_000)
})

test('Retry-After wins over the other fields; what cannot be read does not', () => {
  assert.equal(retryAfterMs({ 'retry-after': '3', ratelimit: '"a";r=0;t=50' }, NOW), 3_000)
  assert.equal(retryAfterMs({ 'retry-after': 'soon', ratelimit: '"a";r=0;t=50' }, NOW), 50_000)
  assert.equal(retryAfterMs({ 'retry-after': '-5' }, NOW), undefined)
})

test('reads the IETF fields, old and new, of spent policies only', () => {
  assert.equal(retryAfterMs({ ratelimit: '"burst";r=0;t=5, "day";r=900;t=40000' }, NOW), 5_000)
  assert.equal(retryAfterMs({ ratelimit: ['"burst";r=0;t=5', '"day";r=0;t=40'] }, NOW), 40_000)
  assert.equal(
    retryAfterMs({ ratelimit: '"burst";r=0', 'ratelimit-policy': '"burst";q=10;w=30' }, NOW),
    30_000,
  )
  assert.equal(retryAfterMs({ ratelimit: '"burst";r=3;t=5' }, NOW), undefined)
  assert.equal(retryAfterMs({ ratelimit: 'limit=100, remaining=0, reset=7' }, NOW), 7_000)
  assert.equal(retryAfterMs({ ratelimit: 'limit=100, remaining=5, reset=7' }, NOW), undefined)
  assert.equal(retryAfterMs({ 'ratelimit-remaining': '0', 'ratelimit-reset': '8' }, NOW), 8_000)
})

test('tells the three meanings of X-RateLimit-Reset apart by size', () => {
  assert.equal(retryAfterMs({ 'x-ratelimit-reset': '30' }, NOW), 30_000)
  assert.equal(retryAfterMs({ 'x-ratelimit-reset': String(NOW / 1000 + 30) }, NOW), 30_000)
  assert.equal(retryAfterMs({ 'x-ratelimit-reset': String(NOW + 30_000) }, NOW), 30_000)
  assert.equal(
    retryAfterMs({ 'x-ratelimit-reset': '30', 'x-ratelimit-remaining': '1' }, NOW),
    undefined,
    'calls are left: nobody asks us to wait',
  )
})

test('says nothing when the upstream says nothing', () => {
  assert.equal(retryAfterMs({}, NOW), undefined)
  assert.equal(retryAfterMs({ 'x-ratelimit-reset': 'tomorrow' }, NOW), undefined)
})
