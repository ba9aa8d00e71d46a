import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Ledger } from '../../src/intake/ledger.ts'

describe('ledger', () => {
  it('offers nothing before the first record is finished', () => {
    const ledger = new Ledger()
    assert.equal(ledger.committable(), undefined)
    assert.ok(ledger.take(7))
    assert.equal(ledger.committable(), undefined)
    assert.equal(ledger.span, 1)
  })

  it('offers the smallest unfinished offset, whatever was finished beyond it', () => {
    const ledger = new Ledger()
    for (const offset of [5, 6, 7, 8]) ledger.take(offset)
    ledger.finish(7)
    ledger.finish(8)
    assert.equal(ledger.committable(), undefined)
    ledger.finish(5)
    assert.deepEqual(ledger.committable(), { offset: 6, sequence: 1 })
    ledger.finish(6)
    assert.deepEqual(ledger.committable(), { offset: 9, sequence: 4 })
  })

  it('ignores what it has seen, in flight, finished or committed', () => {
    const ledger = new Ledger()
    ledger.take(5)
    ledger.take(6)
    ledger.finish(5)
    assert.equal(ledger.markCommitted(ledger.committable()!), 1)
    for (const offset of [4, 5, 6]) assert.equal(ledger.take(offset), false)
    assert.equal(ledger.finish(5), false)
    assert.equal(ledger.finish(99), false)
  })

  it('goes over gaps and past what has no records at the end', () => {
    const ledger = new Ledger()
    ledger.take(10)
    ledger.take(20)
    ledger.skipTo(25)
    ledger.finish(10)
    assert.equal(ledger.committable()?.offset, 20)
    ledger.finish(20)
    assert.equal(ledger.committable()?.offset, 25)
    assert.equal(ledger.take(24), false)
    assert.ok(ledger.take(25))
  })

  it('agrees with a naive model over random finishes, rewinds, commits and revokes', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('take' as const), gap: fc.integer({ min: 0, max: 3 }) }),
      },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('finish' as const), pick: fc.nat() }) },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('rewind' as const), back: fc.integer({ min: 1, max: 20 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('commit' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('revoke' as const) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        let ledger = new Ledger()
        let model = new Model()
        for (const action of steps) {
          if (action.kind === 'take') {
            const offset = model.next + action.gap
            assert.equal(ledger.take(offset), model.take(offset))
          } else if (action.kind === 'finish') {
            const open = [...model.open].sort((a, b) => a - b)
            if (open.length > 0) {
              const offset = open[action.pick % open.length]!
              assert.equal(ledger.finish(offset), true)
              model.open.delete(offset)
            }
          } else if (action.kind === 'rewind') {
            // At most back to where this assignment began: nothing is delivered from below the committed place.
            const begin = model.taken[0] ?? model.next
            for (let offset = Math.max(begin, model.next - action.back); offset < model.next; offset += 1) {
              assert.equal(ledger.take(offset), false)
            }
          } else if (action.kind === 'commit') {
            const place = ledger.committable()
            if (place !== undefined) {
              const covered = model.taken.filter(
                (offset) => offset >= model.committed && offset < place.offset,
              ).length
              assert.equal(ledger.markCommitted(place), covered)
              model.committed = place.offset
            }
          } else {
            const from = Math.max(0, model.committed)
            ledger = new Ledger()
            model = new Model(from)
          }
          assert.equal(ledger.committable()?.offset, model.committable())
          assert.equal(ledger.unfinished, model.open.size)
          assert.equal(ledger.span, model.span())
        }
      }),
      { numRuns: 300 },
    )
  })
})

/** Keeps everything and looks through all of it each time. */
class Model {
  taken: number[] = []
  open = new Set<number>()
  committed = -1
  next: number

  constructor(from = 0) {
    this.next = from
  }

  take(offset: number): boolean {
    this.taken.push(offset)
    this.open.add(offset)
    this.next = offset + 1
    return true
  }

  committable(): number | undefined {
    if (this.taken.length === 0) return undefined
    const place = this.open.size === 0 ? this.next : Math.min(...this.open)
    if (place <= this.committed || place === this.taken[0]) return undefined
    return place
  }

  span(): number {
    const place = this.open.size === 0 ? this.next : Math.min(...this.open)
    return this.taken.filter((offset) => offset >= place).length
  }
}
