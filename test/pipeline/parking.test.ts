import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Delivery } from '../../src/job/record.ts'
import { Parking, type ParkingOptions } from '../../src/pipeline/parking.ts'
import type { Standing } from '../../src/pipeline/standing.ts'
import { createLog } from '../../src/telemetry/log.ts'

const log = createLog({ level: 'silent', pretty: false, secrets: [] })

class Yard {
  readonly held = new Set<string>()
  readonly backlogs = new Map<string, number>()
  readonly parking: Parking
  readonly standings = new Map<string, Standing[]>()

  constructor(options: Partial<ParkingOptions> = {}) {
    const gate = {
      holdTopic: (topic: string) => void this.held.add(topic),
      releaseTopic: (topic: string) => void this.held.delete(topic),
      backlog: (topic: string) => this.backlogs.get(topic),
    }
    this.parking = new Parking(
      {
        parked: new Map([
          ['a', 'parked.a'],
          ['b', 'parked.b'],
        ]),
        live: new Set(['a', 'b']),
        dedicated: new Map([['only.a', 'a']]),
        shared: ['jobs'],
        jobsMax: 4,
        bytesMax: 1_000,
        parkedMax: 100,
        ...options,
      },
      gate,
      log,
    )
  }

  /** True when it was admitted. */
  take(platform: string, topic = 'jobs', bytes = 1): boolean {
    const delivery = { record: { topic }, bytes } as Delivery
    const aside = this.parking.topicFor(platform, delivery)
    if (aside !== undefined) {
      assert.equal(aside, `parked.${platform}`)
      return false
    }
    const standing = this.parking.admit(platform, delivery)
    standing.waits()
    const standings = this.standings.get(platform) ?? []
    standings.push(standing)
    this.standings.set(platform, standings)
    return true
  }

  /** The oldest jobs get their permits. */
  go(platform: string, count: number): void {
    for (const standing of this.standings.get(platform)?.splice(0, count) ?? []) standing.moves()
  }

  waiting(platform: string): number {
    return this.parking.states.find((state) => state.platform === platform)?.waiting ?? 0
  }

  async look(): Promise<void> {
    this.parking.start()
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    this.parking.stop()
  }
}

test('a platform that has its share is parked, others are not; its own topics are held until half of it is free', () => {
  const yard = new Yard()
  for (let i = 0; i < 4; i++) assert.ok(yard.take('a'))
  assert.deepEqual([...yard.held], ['parked.a', 'only.a'])
  assert.equal(yard.take('a'), false)
  assert.ok(yard.take('b'))
  yard.go('a', 1)
  assert.deepEqual([...yard.held], ['parked.a', 'only.a'])
  yard.go('a', 1)
  assert.deepEqual([...yard.held], [])
})

test('by bytes as well', () => {
  const yard = new Yard()
  assert.ok(yard.take('a', 'jobs', 600))
  assert.ok(yard.take('a', 'jobs', 600))
  assert.equal(yard.take('a', 'jobs', 1), false)
  yard.go('a', 2)
  assert.equal(yard.waiting('a'), 0)
})

test('what comes from a topic of its own is never parked', () => {
  const yard = new Yard()
  for (let i = 0; i < 9; i++) assert.ok(yard.take('a', i % 2 === 0 ? 'parked.a' : 'only.a'))
  assert.equal(yard.waiting('a'), 9)
})

test('jobs go behind the parked ones until those fit into memory', async () => {
  const yard = new Yard()
  yard.backlogs.set('parked.a', 5)
  assert.equal(yard.take('a'), false, 'parked by the process before')
  yard.backlogs.set('parked.a', 3)
  await yard.look()
  assert.equal(yard.take('a'), false, 'more is parked than half of the share')
  yard.backlogs.set('parked.a', 2)
  await yard.look()
  assert.ok(yard.take('a'))
})

test('when every platform has its share the shared topics are held, and what was on its way is taken in', () => {
  const yard = new Yard({ live: new Set(['a', 'b']) })
  for (let i = 0; i < 4; i++) yard.take('a')
  assert.equal(yard.held.has('jobs'), false)
  for (let i = 0; i < 4; i++) yard.take('b')
  assert.ok(yard.held.has('jobs'))
  assert.ok(yard.take('a'))
  assert.ok(yard.take('b'))
  yard.go('b', 3)
  assert.equal(yard.held.has('jobs'), false)
})

test('a platform that cannot take jobs at all keeps nobody reading', () => {
  const yard = new Yard({ live: new Set(['b']) })
  for (let i = 0; i < 4; i++) yard.take('b')
  assert.ok(yard.held.has('jobs'))
})

test('above the bound of parked jobs they are taken in', () => {
  const yard = new Yard()
  for (let i = 0; i < 4; i++) yard.take('a')
  yard.backlogs.set('parked.a', 99)
  assert.equal(yard.take('a'), false)
  yard.backlogs.set('parked.a', 100)
  assert.ok(yard.take('a'))
})

test('an unknown platform is nobody’s matter', () => {
  const yard = new Yard()
  for (let i = 0; i < 20; i++) assert.ok(yard.take('x'))
})

test('whatever happens, what waits is counted right and what is held is released in the end', () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('take' as const),
      platform: fc.constantFrom('a', 'b'),
      topic: fc.constantFrom('jobs', 'only.a'),
    }),
    fc.record({
      do: fc.constant('go' as const),
      platform: fc.constantFrom('a', 'b'),
      count: fc.integer({ min: 1, max: 5 }),
    }),
    fc.record({
      do: fc.constant('backlog' as const),
      platform: fc.constantFrom('a', 'b'),
      count: fc.integer({ min: 0, max: 120 }),
    }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const yard = new Yard()
      for (const one of steps) {
        if (one.do === 'go') yard.go(one.platform, one.count)
        else if (one.do === 'backlog') yard.backlogs.set(`parked.${one.platform}`, one.count)
        else if (one.platform === 'a' || one.topic === 'jobs') yard.take(one.platform, one.topic)
        for (const platform of ['a', 'b']) {
          const waiting = yard.waiting(platform)
          assert.equal(waiting, yard.standings.get(platform)?.length ?? 0)
          if (waiting >= 4) assert.ok(yard.held.has(`parked.${platform}`))
          if (waiting <= 2) assert.ok(!yard.held.has(`parked.${platform}`))
        }
        assert.equal(yard.held.has('jobs'), yard.held.has('parked.a') && yard.held.has('parked.b'))
      }
      for (const platform of ['a', 'b']) yard.go(platform, 1_000)
      assert.equal(yard.held.size, 0)
    }),
    { numRuns: 300 },
  )
})
