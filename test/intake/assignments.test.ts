import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Assignments } from '../../src/intake/assignments.ts'

const at = (topic: string, partition: number) => ({ topic, partition })

describe('assignments', () => {
  it('keeps the epoch of what the same member keeps, and says where to read on', () => {
    const assignments = new Assignments()
    const first = assignments.joined('a', { t: [0, 1] })
    assert.deepEqual(first.assigned, [
      { ...at('t', 0), epoch: 1 },
      { ...at('t', 1), epoch: 2 },
    ])
    assignments.read(at('t', 0), 10, 12)
    const second = assignments.joined('a', { t: [0, 2] })
    assert.deepEqual(second, {
      lost: [{ ...at('t', 1), epoch: 2 }],
      assigned: [{ ...at('t', 2), epoch: 3 }],
      kept: [{ ...at('t', 0), next: 10 }],
    })
    assert.equal(assignments.owns(at('t', 0), 1), true)
    assert.equal(assignments.owns(at('t', 1), 2), false)
  })

  it('loses everything with its member id', () => {
    const assignments = new Assignments()
    assignments.joined('a', { t: [0] })
    assert.deepEqual(assignments.joined('b', { t: [0] }), {
      lost: [{ ...at('t', 0), epoch: 1 }],
      assigned: [{ ...at('t', 0), epoch: 2 }],
      kept: [],
    })
  })

  it('notices that a partition ends before what was read of it', () => {
    const assignments = new Assignments()
    assignments.joined('a', { t: [0] })
    assert.equal(assignments.wasCut(at('t', 0), 0), false)
    assignments.read(at('t', 0), 10, 10)
    assert.equal(assignments.wasCut(at('t', 0), 10), false)
    assert.equal(assignments.wasCut(at('t', 0), 9), true)
    assert.deepEqual(assignments.renew(at('t', 0)), {
      lost: [{ ...at('t', 0), epoch: 1 }],
      assigned: [{ ...at('t', 0), epoch: 2 }],
    })
    assert.equal(assignments.wasCut(at('t', 0), 9), false)
  })

  it('counts the lag from the committed place, or from the oldest record that is still there', () => {
    const assignments = new Assignments()
    assignments.joined('a', { t: [0, 1] })
    assert.deepEqual(assignments.lag(), [])
    assignments.ends(at('t', 0), 100, 120)
    assert.deepEqual(assignments.lag(), [{ ...at('t', 0), records: 20 }])
    assignments.committed({ ...at('t', 0), offset: 115 })
    assert.deepEqual(assignments.lag(), [{ ...at('t', 0), records: 5 }])
  })
})
