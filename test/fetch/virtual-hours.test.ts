import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Breaker, REFUSED } from '../../src/fetch/breaker.ts'
import { isPermitLate } from '../../src/fetch/errors.ts'
import type { NameService } from '../../src/fetch/resolver.ts'
import { AttemptError } from '../../src/job/errors.ts'
import { engineFor, get, metricValue, never, permit, serve } from './local.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** A zone of one name, that may be out of order; knows when it was asked. */
class Zone implements NameService {
  readonly #now: () => number
  readonly askedMs: number[] = []
  failing = false

  constructor(now: () => number) {
    this.#now = now
  }

  async query() {
    this.askedMs.push(this.#now())
    if (this.failing) throw new Error('SERVFAIL')
    return [{ address: '127.0.0.1', family: 4 as const }]
  }

  close(): void {}
}

test('five hours of an engine: DNS in order, out of order and back; the host in order, out of order and back', async (t) => {
  const clock = { nowMs: 0 }
  const now = () => clock.nowMs
  let requests = 0
  let status = (_request: number) => 200
  const { port } = await serve(t, (_request, response) => {
    requests += 1
    // So that each request needs a connection, and each connection the name.
    response.writeHead(status(requests), { connection: 'close' }).end()
  })
  const zone = new Zone(now)
  const origin = `http://api.test:${port}`
  const changes: [atMs: number, open: boolean][] = []
  const { engine, metrics } = engineFor(
    t,
    origin,
    { onBreaker: ({ open }) => changes.push([now(), open]) },
    { now, names: zone },
  )
  const call = async () => {
    const one = permit(now() + HOUR)
    const outcome = await engine.fetch(get(origin), one, { signal: never }).then(
      (reply) => String(reply.status),
      (error: unknown) => {
        if (error instanceof AttemptError) return error.reason
        assert.ok(isPermitLate(error))
        assert.ok(one.spend(now()), 'what was not sent has cost no permit')
        return error.why
      },
    )
    return outcome
  }
  /** So many calls at once, every so often, for a while of the virtual clock: how they ended, each with its moment. */
  const during = async (options: { forMs: number; everyMs: number; calls: number }) => {
    const outcomes: [atMs: number, outcome: string][] = []
    for (const endMs = now() + options.forMs; now() < endMs; clock.nowMs += options.everyMs) {
      const all = await Promise.all(Array.from({ length: options.calls }, call))
      outcomes.push(...all.map((outcome): [number, string] => [now(), outcome]))
    }
    return outcomes
  }
  const told = () => changes.length
  const kinds = (outcomes: readonly [number, string][]) => new Set(outcomes.map(([, outcome]) => outcome))

  // An hour in which nothing happens: an answer is kept 300 s, and asked for again in its last fifth, behind the callers' backs.
  assert.deepEqual(kinds(await during({ forMs: HOUR, everyMs: 10 * SECOND, calls: 2 })), new Set(['200']))
  const gaps = zone.askedMs.slice(1).map((atMs, index) => atMs - zone.askedMs[index]!)
  assert.ok(
    gaps.length >= 12 && gaps.every((gap) => gap >= 240 * SECOND && gap <= 300 * SECOND),
    String(gaps),
  )

  // DNS fails. The last answer serves 300 s and an hour beyond; it is asked for again, but not before 5 s are over.
  const answeredMs = zone.askedMs.at(-1)!
  zone.failing = true
  const askedBefore = zone.askedMs.length
  const outage = await during({ forMs: 90 * MINUTE, everyMs: 2 * SECOND, calls: 1 })
  const lastGood = outage.findLast(([, outcome]) => outcome === '200')![0]
  const firstBad = outage.find(([, outcome]) => outcome !== '200')!
  assert.ok(lastGood < firstBad[0], 'it fails for good')
  assert.equal(firstBad[1], 'connection')
  const servedMs = firstBad[0] - answeredMs
  assert.ok(servedMs >= 65 * MINUTE && servedMs <= 65 * MINUTE + 2 * SECOND, `served ${servedMs} ms`)
  const asked = zone.askedMs.slice(askedBefore)
  for (const [index, atMs] of asked.slice(1).entries()) assert.ok(atMs - asked[index]! >= 5 * SECOND)
  assert.ok(asked.length > 500, 'and it never ceased to ask')
  assert.equal(told(), 0, 'one call in 2 s are too few to judge a host by')

  // DNS is back: the next question, at most 5 s later, is answered.
  zone.failing = false
  const recovered = await during({ forMs: MINUTE, everyMs: SECOND, calls: 1 })
  assert.deepEqual(kinds(recovered.slice(5)), new Set(['200']))

  // A third of the calls fail, for a quarter of an hour: no reason to stop.
  status = (request) => (request % 3 === 0 ? 503 : 200)
  const third = await during({ forMs: 15 * MINUTE, everyMs: SECOND, calls: 3 })
  assert.deepEqual(kinds(third), new Set(['200', '503']))
  assert.equal(told(), 0)

  // All fail, and of those before nothing is remembered: twenty are enough.
  status = () => 503
  clock.nowMs += MINUTE
  const failing = await during({ forMs: 10 * SECOND, everyMs: SECOND, calls: 4 })
  assert.equal(told(), 1)
  const sent = failing.filter(([, outcome]) => outcome === '503').length
  assert.equal(sent, 20 + 1, 'twenty, and one probe 5 s later')
  assert.equal(await metricValue(metrics, 'breaker_open', { platform: 'here' }), 1)

  // Two hours of it: one probe every 5 s, never two at once, and nobody fails: they wait.
  const requestsBefore = requests
  const down = await during({ forMs: 2 * HOUR, everyMs: SECOND, calls: 3 })
  assert.deepEqual(kinds(down), new Set(['503', 'breaker_open']))
  const probes = down.filter(([, outcome]) => outcome === '503').map(([atMs]) => atMs)
  assert.equal(requests - requestsBefore, probes.length)
  assert.ok(probes.length >= (2 * HOUR) / (5 * SECOND) - 1, `${probes.length} probes`)
  for (const [index, atMs] of probes.slice(1).entries()) assert.ok(atMs - probes[index]! >= 5 * SECOND)
  assert.equal(told(), 1, 'a probe that fails is no news')

  // The host is back: the next probe closes it, and everybody passes.
  status = () => 200
  const back = await during({ forMs: 30 * SECOND, everyMs: SECOND, calls: 3 })
  assert.deepEqual(kinds(back.slice(3 * 5 + 1)), new Set(['200']))
  assert.deepEqual(
    changes.map(([, open]) => open),
    [true, false],
  )
  assert.equal(await metricValue(metrics, 'breaker_open', { platform: 'here' }), 0)
  t.diagnostic(
    `${(now() / HOUR).toFixed(1)} hours, ${requests} requests, ${zone.askedMs.length} questions, ${probes.length} probes`,
  )
})

test('whatever comes when, the breaker lets one probe at a time, opens only for more than half of 20 in 10 s, and says so once', () => {
  // mulberry32: the same calls in every run.
  let state = 11
  const random = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const changes: boolean[] = []
  const breaker = new Breaker({ onChange: (open) => changes.push(open) })
  let nowMs = 0
  let health = 1
  /** Results since it was closed last, as the breaker must have seen them. */
  let ended: { atMs: number; failed: boolean }[] = []
  const underWay: { admission: number; isProbe: boolean; closedAt: number }[] = []
  let closings = 0
  let openings = 0
  /** By the rule itself: of the last ten parts of a second each, the one that runs included. */
  const isTooMuch = () => {
    const fromMs = (Math.floor(nowMs / SECOND) - 9) * SECOND
    const recent = ended.filter(({ atMs }) => atMs >= fromMs)
    const failures = recent.filter((result) => result.failed).length
    return recent.length >= 20 && failures * 2 > recent.length
  }
  for (let step = 0; step < 200_000; step += 1) {
    nowMs += random() * 300
    if (random() < 0.001) health = random()
    const wasState = breaker.state
    if (random() < 0.6) {
      const room = breaker.room(nowMs)
      const admission = breaker.admit(nowMs)
      assert.equal(admission === REFUSED, room === 0)
      const isProbe = wasState !== 'closed' && admission !== REFUSED
      if (isProbe) assert.ok(!underWay.some((other) => other.admission === admission), 'one at a time')
      if (admission !== REFUSED) underWay.push({ admission, isProbe, closedAt: closings })
    } else if (underWay.length > 0) {
      const [one] = underWay.splice(Math.floor(random() * underWay.length), 1)
      const { admission, closedAt } = one!
      if (random() < 0.05) {
        breaker.abandon(admission, nowMs)
        continue
      }
      const failed = random() > health
      const counts = wasState === 'closed' && closedAt === closings
      if (counts) ended.push({ atMs: nowMs, failed })
      breaker.record(admission, failed, nowMs)
      // Only a failure opens it.
      if (counts && failed) assert.equal(breaker.state === 'open', isTooMuch())
      if (wasState === 'closed' && breaker.state === 'open') {
        openings += 1
        assert.ok(isTooMuch(), `opened for ${ended.length} results`)
        ended = []
      }
      if (wasState !== 'closed' && breaker.state === 'closed') closings += 1
    }
    if (ended.length > 1_000) ended = ended.slice(-500)
  }
  assert.ok(openings > 20 && closings > 20, `${openings} openings, ${closings} closings`)
  assert.deepEqual(
    changes,
    Array.from({ length: openings + closings }, (_, index) => index % 2 === 0),
  )
})
