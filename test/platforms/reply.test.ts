import assert from 'node:assert/strict'
import { test } from 'node:test'
import { linkQuery, retryAfterMs, untilMidnightMs } from '../../src/platforms/reply.ts'
import { jsonReply } from './recorded-context.ts'

const midnightAfter = (zone: string, at: string) =>
  new Date(Date.parse(at) + untilMidnightMs(zone, Date.parse(at))).toISOString()

test('midnight Pacific is found on ordinary days and on the days the clocks change', () => {
  const zone = 'America/Los_Angeles'
  assert.equal(midnightAfter(zone, '2026-11-21T00:42:00Z'), '2026-11-21T08:00:00.000Z')
  // 8 March 2026: from standard to daylight time, a day of 23 hours.
  assert.equal(midnightAfter(zone, '2026-03-08T09:00:00Z'), '2026-03-09T07:00:00.000Z')
  // 1 November 2026: back, a day of 25 hours.
  assert.equal(midnightAfter(zone, '2026-11-01T08:00:00Z'), '2026-11-02T08:00:00.000Z')
  assert.equal(midnightAfter('UTC', '2026-11-21T23:59:59.999Z'), '2026-11-22T00:00:00.000Z')
})

test('Retry-After is seconds, or a date measured by the clock of who answered', () => {
  const reply = (value: string) =>
    jsonReply('x', 429, {}, { 'retry-after': value, date: 'Sat, 21 Nov 2026 00:00:00 GMT' })
  assert.equal(retryAfterMs(reply('7')), 7000)
  assert.equal(retryAfterMs(reply('Sat, 21 Nov 2026 00:01:30 GMT')), 90_000)
  assert.equal(retryAfterMs(reply('Fri, 20 Nov 2026 00:00:00 GMT')), 0)
  assert.equal(retryAfterMs(reply('soon')), undefined)
  assert.equal(retryAfterMs(jsonReply('x', 429, {})), undefined)
})

test('Link names the query of the next page, whatever else it holds', () => {
  const link =
    '<https://api.example/items?page=1>; rel="prev", <https://api.example/items?page=3&q=a%2Cb>; title="x, y"; rel="next last"'
  assert.deepEqual(linkQuery({ link }), { page: '3', q: 'a,b' })
  assert.deepEqual(linkQuery({ link }, 'prev'), { page: '1' })
  assert.equal(linkQuery({ link }, 'first'), undefined)
  assert.deepEqual(linkQuery({ link: '</items?after=x>;rel=next' }), { after: 'x' })
  assert.equal(linkQuery({ link: 'none of the kind' }), undefined)
  assert.equal(linkQuery({}), undefined)
})
