import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ServiceAwayError } from '../../src/job/errors.ts'
import type { Demand, Grant, Limiter, Permit } from '../../src/job/permit.ts'
import { PermitDesk, type PermitRequest } from '../../src/pipeline/permit-desk.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'

/** A limiter at the port: answers as the test says, and remembers what it was asked. */
class ScriptedLimiter implements Limiter {
  readonly demands: Demand[] = []
  readonly healthy = true
  answer: (demand: Demand) => Promise<readonly Grant[]> | readonly Grant[] = (demand) =>
    demand.wants.map(({ endpoint, count }) => grantOf(endpoint, { granted: count }))

  async decide(demand: Demand): Promise<readonly Grant[]> {
    this.demands.push(demand)
    return this.answer(demand)
  }
  async learn(): Promise<void> {}
  async levels() {
    return []
  }
  async start(): Promise<void> {}
  async stop(): Promise<void> {}
}

let grants = 0

function grantOf(endpoint: string, over: Partial<Grant>): Grant {
  return { endpoint, granted: 0, grant: `g${grants++}`, waitMs: 0, level: null, gatherMs: 1, ...over }
}

const log = createLog({ level: 'silent', pretty: false, secrets: [] })

function deskOf(
  t: { after(fn: () => Promise<void>): void },
  limiter: Limiter,
  room = () => 1000,
  useWithinMs = 60_000,
) {
  const metrics = createMetrics()
  const desk = new PermitDesk(limiter, metrics, log, { useWithinMs, room, gapMs: 1 })
  t.after(() => desk.stop())
  return { desk, metrics }
}

function ack(grant: string, arrived: number) {
  return { endpoint: 'channel', credential: undefined, grant, arrived }
}

function requestOf(over: Partial<PermitRequest> = {}): PermitRequest {
  return {
    platform: 'youtube',
    endpoint: 'channel',
    cost: 1,
    priority: 5,
    sinceMs: Date.now(),
    expiresAtMs: Date.now() + 60_000,
    signal: new AbortController().signal,
    begun: false,
    isInTheWay: () => false,
    ...over,
  }
}

test('one call asks for everything that waits', async (t) => {
  const limiter = new ScriptedLimiter()
  const { desk } = deskOf(t, limiter)
  await Promise.all(
    Array.from({ length: 100 }, (_, i) =>
      desk.acquire(requestOf({ endpoint: i < 60 ? 'channel' : 'videos' })),
    ),
  )
  assert.equal(limiter.demands.length, 1)
  assert.deepEqual(limiter.demands[0]?.wants, [
    { endpoint: 'channel', credential: undefined, count: 60, cost: 1, waiting: 60 },
    { endpoint: 'videos', credential: undefined, count: 40, cost: 1, waiting: 40 },
  ])
})

test('never asks for more than can be sent, and asks again when there is room', async (t) => {
  const limiter = new ScriptedLimiter()
  let busy = 0
  const { desk } = deskOf(t, limiter, () => 2 - busy)
  const permits: Permit[] = []
  const waiting = Array.from({ length: 6 }, () =>
    desk.acquire(requestOf()).then((permit) => {
      permits.push(permit)
      desk.sent(permit)
      busy++
      assert.ok(busy <= 2)
      setImmediate(() => {
        busy--
        desk.roomMade('youtube')
      })
    }),
  )
  await Promise.all(waiting)
  assert.equal(permits.length, 6)
  for (const demand of limiter.demands) assert.ok((demand.wants[0]?.count ?? 0) <= 2)
})

test('the one with the higher priority gets the only permit', async (t) => {
  const limiter = new ScriptedLimiter()
  let left = 1
  limiter.answer = (demand) =>
    demand.wants.map((want) => {
      const granted = Math.min(left, want.count)
      left -= granted
      return grantOf(want.endpoint, { granted, waitMs: 20, level: 'platform:youtube' })
    })
  const { desk, metrics } = deskOf(t, limiter)
  const order: number[] = []
  const all = [1, 10, 5].map((priority) =>
    desk.acquire(requestOf({ priority })).then(() => order.push(priority)),
  )
  await Promise.race(all)
  assert.deepEqual(order, [10])
  left = 2
  await Promise.all(all)
  assert.deepEqual(order, [10, 5, 1])
  const denied = await metrics.permits_denied_total.get()
  assert.deepEqual(denied.values[0]?.labels, { platform: 'youtube', endpoint: 'channel', level: 'platform' })
})

test('drops grants that come too late to be used, and acknowledges them', async (t) => {
  const limiter = new ScriptedLimiter()
  let calls = 0
  limiter.answer = (demand) => {
    if (calls++ === 0) {
      const until = performance.now() + 510
      while (performance.now() < until); // The reply takes longer than a grant may live.
    }
    return demand.wants.map(({ endpoint, count }) =>
      grantOf(endpoint, { granted: count, grant: `late${calls}` }),
    )
  }
  const { desk, metrics } = deskOf(t, limiter, () => 10, 500)
  const permit = await desk.acquire(requestOf())
  // On a busy machine the next one may come too late as well.
  const used = Number(/^late(\d+)$/.exec(permit.grant)?.[1])
  assert.ok(used >= 2, permit.grant)
  assert.equal((await metrics.permits_dropped_total.get()).values[0]?.value, used - 1)
  assert.deepEqual(limiter.demands[1]?.acks, [ack('late1', 1)])
})

test('acknowledgements go by themselves when nobody waits', async (t) => {
  const limiter = new ScriptedLimiter()
  const { desk } = deskOf(t, limiter)
  const permit = await desk.acquire(requestOf())
  const acknowledged = new Promise<Demand>((resolve) => {
    limiter.answer = (demand) => {
      resolve(demand)
      return []
    }
  })
  desk.arrived(permit)
  const demand = await acknowledged
  assert.deepEqual(demand.wants, [])
  assert.deepEqual(demand.acks, [ack(permit.grant, 1)])
})

test('a limiter that is away grants nothing, and hears of every arrival when it is back', async (t) => {
  const limiter = new ScriptedLimiter()
  const { desk } = deskOf(t, limiter)
  const permits = await Promise.all([desk.acquire(requestOf()), desk.acquire(requestOf())])
  const { answer } = limiter
  let failures = 0
  limiter.answer = (demand) => {
    if (failures++ < 3) throw new ServiceAwayError('redis', 'away')
    return answer(demand)
  }
  const before = limiter.demands.length
  desk.arrived(permits[0])
  const third = desk.acquire(requestOf())
  desk.arrived(permits[1])
  await third
  assert.ok(failures > 3)
  const told = limiter.demands.slice(before)
  assert.ok(told.length > 3)
  // How many have arrived in all, each time until it is confirmed.
  for (const { acks } of told) assert.deepEqual(acks, [ack(permits[0].grant, 2)])
  assert.equal(new Set(told.map(({ requestId }) => requestId)).size, told.length)
})

test('says how many may be sent at once, whatever waits', async (t) => {
  const limiter = new ScriptedLimiter()
  const { desk } = deskOf(t, limiter, () => 10)
  const abandoned = new AbortController()
  t.after(() => abandoned.abort())
  for (let i = 0; i < 100; i++) desk.acquire(requestOf({ signal: abandoned.signal })).catch(() => {})
  await desk.acquire(requestOf({ endpoint: 'videos' }))
  const [demand] = limiter.demands
  assert.equal(demand?.permitsMax, 10)
  assert.deepEqual(demand.wants, [
    { endpoint: 'channel', credential: undefined, count: 10, cost: 1, waiting: 100 },
    { endpoint: 'videos', credential: undefined, count: 1, cost: 1, waiting: 1 },
  ])
})

test('a paused platform waits and the others go on', async (t) => {
  const { desk } = deskOf(t, new ScriptedLimiter())
  desk.pause('tiktok', 'no credentials')
  let granted = false
  const waiting = desk.acquire(requestOf({ platform: 'tiktok', endpoint: 'user_info' })).then(() => {
    granted = true
  })
  await desk.acquire(requestOf())
  assert.equal(granted, false)
  assert.deepEqual(desk.paused, [{ platform: 'tiktok', because: 'no credentials' }])
  desk.resume('tiktok')
  await waiting
})

test('a job that expires while it waits, or whose partition is lost, gets no permit', async (t) => {
  const limiter = new ScriptedLimiter()
  limiter.answer = (demand) =>
    demand.wants.map(({ endpoint }) => grantOf(endpoint, { waitMs: 5, level: 'global' }))
  const { desk } = deskOf(t, limiter)
  await assert.rejects(desk.acquire(requestOf({ expiresAtMs: Date.now() + 10 })), { reason: 'expired' })
  const lost = new AbortController()
  const waiting = desk.acquire(requestOf({ signal: lost.signal }))
  lost.abort(new Error('partition lost'))
  await assert.rejects(waiting, /partition lost/)
  assert.equal(desk.queued().youtube?.channel, 0)
})

test('goes on after any number of short denials, also when a timer fires early', async (t) => {
  const limiter = new ScriptedLimiter()
  let turn = 0
  limiter.answer = (demand) =>
    demand.wants.map(({ endpoint }) =>
      ++turn % 2 === 0
        ? grantOf(endpoint, { granted: 1, waitMs: 0.3, level: 'global' })
        : grantOf(endpoint, { waitMs: 0.7, level: 'global' }),
    )
  const { desk } = deskOf(t, limiter)
  await Promise.all(Array.from({ length: 20 }, () => desk.acquire(requestOf())))
})

test('a wait that is longer than a timer can run is a wait', async (t) => {
  const limiter = new ScriptedLimiter()
  limiter.answer = (demand) =>
    demand.wants.map(({ endpoint }) => grantOf(endpoint, { waitMs: 31 * 86_400_000, level: 'quota:youtube' }))
  const { desk } = deskOf(t, limiter)
  const abandoned = new AbortController()
  t.after(() => abandoned.abort())
  desk.acquire(requestOf({ signal: abandoned.signal })).catch(() => {})
  // Another platform's calls show that time passes.
  const other = limiter.answer
  limiter.answer = (demand) =>
    demand.platform === 'youtube'
      ? other(demand)
      : demand.wants.map(({ endpoint }) => grantOf(endpoint, { granted: 1 }))
  for (let i = 0; i < 10; i++) await desk.acquire(requestOf({ platform: 'tiktok', endpoint: 'user_info' }))
  assert.equal(limiter.demands.filter(({ platform }) => platform === 'youtube').length, 1)
})

test('a drain sends away who has not begun, and serves who has', async (t) => {
  const limiter = new ScriptedLimiter()
  let open = false
  const answer = limiter.answer
  limiter.answer = (demand) =>
    open
      ? answer(demand)
      : demand.wants.map(({ endpoint }) => grantOf(endpoint, { waitMs: 5, level: 'global' }))
  const { desk } = deskOf(t, limiter)
  const fresh = desk.acquire(requestOf())
  const begun = desk.acquire(requestOf({ begun: true }))
  desk.dismiss()
  await assert.rejects(fresh, { name: 'DismissedError' })
  await assert.rejects(desk.acquire(requestOf()), { name: 'DismissedError' })
  open = true
  await begun
})
