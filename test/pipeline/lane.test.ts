import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AGEING_STEP_MS, Lane, type LaneEntry } from '../../src/pipeline/lane.ts'

interface Named extends LaneEntry {
  readonly name: string
}

function drain(lane: Lane<Named>): string[] {
  const names: string[] = []
  for (let entry = lane.shift(); entry !== undefined; entry = lane.shift()) names.push(entry.name)
  return names
}

test('the highest priority goes first, and the oldest among equals', () => {
  const lane = new Lane<Named>()
  lane.push({ name: 'low', priority: 1, sinceMs: 0 })
  lane.push({ name: 'high, later', priority: 10, sinceMs: 2 })
  lane.push({ name: 'high, first', priority: 10, sinceMs: 1 })
  lane.push({ name: 'middle', priority: 5, sinceMs: 0 })
  assert.deepEqual(drain(lane), ['high, first', 'high, later', 'middle', 'low'])
})

test('a job that waits moves up: priority 1 goes ahead of a priority 10 that came long after it', () => {
  const lane = new Lane<Named>()
  lane.push({ name: 'fresh', priority: 10, sinceMs: 9 * AGEING_STEP_MS + 1 })
  lane.push({ name: 'old', priority: 1, sinceMs: 0 })
  lane.push({ name: 'soon enough', priority: 10, sinceMs: 9 * AGEING_STEP_MS - 1 })
  assert.deepEqual(drain(lane), ['soon enough', 'old', 'fresh'])
})

test('agrees with a sorted list under any mix of pushes, shifts and removals', () => {
  const step = fc.oneof(
    fc.record({
      do: fc.constant('push' as const),
      priority: fc.integer({ min: 1, max: 10 }),
      sinceMs: fc.nat(400_000),
    }),
    fc.record({ do: fc.constant('shift' as const) }),
    fc.record({ do: fc.constant('remove' as const), priority: fc.integer({ min: 1, max: 10 }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const lane = new Lane<Named>()
      let model: Named[] = []
      const rank = (entry: Named) => entry.sinceMs - entry.priority * AGEING_STEP_MS
      for (const [index, one] of steps.entries()) {
        if (one.do === 'push') {
          const entry = { name: String(index), priority: one.priority, sinceMs: one.sinceMs }
          lane.push(entry)
          model.push(entry)
          model.sort((a, b) => rank(a) - rank(b) || Number(a.name) - Number(b.name))
        } else if (one.do === 'shift') {
          assert.equal(lane.shift()?.name, model.shift()?.name)
        } else {
          const removed = lane.remove((entry) => entry.priority === one.priority)
          assert.equal(removed.length, model.filter((entry) => entry.priority === one.priority).length)
          model = model.filter((entry) => entry.priority !== one.priority)
        }
        assert.equal(lane.size, model.length)
        assert.equal(lane.peek()?.name, model[0]?.name)
      }
    }),
  )
})
