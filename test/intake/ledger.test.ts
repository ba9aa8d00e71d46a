import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { encodeBeyond, FinishedBefore } from '../../src/intake/beyond.ts'
import { Ledger } from '../../src/intake/ledger.ts'

describe('ledger', () => {
  it('offers nothing before the first record is finished', () => {
    const ledger = new Ledger()
    assert.equal(ledger.committable(), undefined)
    assert.ok(ledger.take(7, 0))
    assert.equal(ledger.committable(), undefined)
    assert.equal(ledger.span, 1)
  })

  it('offers the smallest unfinished offset, whatever was finished beyond it', () => {
    const ledger = new Ledger()
    for (const offset of [5, 6, 7, 8]) ledger.take(offset, 0)
    ledger.finish(7)
    ledger.finish(8)
    assert.deepEqual(ledger.committable(), { offset: 5, sequence: 0, finished: 2 })
    ledger.finish(5)
    assert.deepEqual(ledger.committable(), { offset: 6, sequence: 1, finished: 3 })
    ledger.finish(6)
    assert.deepEqual(ledger.committable(), { offset: 9, sequence: 4, finished: 4 })
  })

  it('ignores what it has seen, in flight, finished or committed', () => {
    const ledger = new Ledger()
    ledger.take(5, 0)
    ledger.take(6, 0)
    ledger.finish(5)
    assert.equal(ledger.markCommitted(ledger.committable()!), 1)
    for (const offset of [4, 5, 6]) assert.equal(ledger.take(offset, 0), false)
    assert.equal(ledger.finish(5), false)
    assert.equal(ledger.finish(99), false)
  })

  it('goes over gaps and past what has no records at the end', () => {
    const ledger = new Ledger()
    ledger.take(10, 0)
    ledger.take(20, 0)
    ledger.skipTo(25)
    ledger.finish(10)
    assert.equal(ledger.committable()?.offset, 20)
    ledger.finish(20)
    assert.equal(ledger.committable()?.offset, 25)
    assert.equal(ledger.take(24, 0), false)
    assert.ok(ledger.take(25, 0))
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
      fc.property(fc.array(step, { maxLength: 250 }), (steps) => {
        let ledger = new Ledger()
        const model = new Model()
        let stored = { offset: 0, text: '' }
        for (const action of steps) {
          if (action.kind === 'take') {
            const offset = model.following(action.gap)
            assert.equal(ledger.take(offset, 0), model.take(offset), `take ${offset}`)
          } else if (action.kind === 'finish') {
            const open = [...model.open].sort((a, b) => a - b)
            if (open.length > 0) {
              const offset = open[action.pick % open.length]!
              assert.equal(ledger.finish(offset), true)
              model.finish(offset)
            }
          } else if (action.kind === 'rewind') {
            // At most back to where this assignment began: nothing is delivered from below the committed place.
            const begin = model.taken[0] ?? model.next
            for (let offset = Math.max(begin, model.next - action.back); offset < model.next; offset += 1) {
              assert.equal(ledger.take(offset, 0), false)
            }
          } else if (action.kind === 'commit') {
            const place = ledger.committable()
            if (place !== undefined) {
              stored = { offset: place.offset, text: ledger.beyond(1_000) }
              assert.equal(ledger.markCommitted(place), model.commit(place.offset))
            }
          } else {
            ledger = new Ledger(FinishedBefore.read(stored))
            model.revoke()
          }
          assert.equal(ledger.committable()?.offset, model.committable())
          assert.equal(ledger.unfinished, model.open.size)
          assert.equal(ledger.span, model.span())
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('what is finished beyond the committed offset', () => {
  const finishedOf = (text: string, offset: number, from: number, to: number) => {
    const before = FinishedBefore.read({ offset, text })
    return Array.from({ length: to - from }, (_, n) => from + n).filter((one) => before?.has(one, 0) === true)
  }

  it('comes back as it was written', () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { minLength: 1, maxLength: 400 }),
        fc.constantFrom(0, 5, 4_000_000_000_000),
        (finished, base) => {
          const unfinished = finished.flatMap((is, n) => (is && n > 0 ? [] : [base + n]))
          const text = encodeBeyond(base, base + finished.length, unfinished, 1)
          const expected = finished.flatMap((is, n) => (is && n > 0 ? [base + n] : []))
          assert.deepEqual(finishedOf(text, base, base, base + finished.length + 3), expected)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('fits beside an offset, and leaves out the end of what does not', () => {
    const unfinished = Array.from({ length: 20_000 }, (_, n) => 2 * n)
    const text = encodeBeyond(0, 40_000, unfinished, Date.now())
    assert.ok(text.length <= 4_096, `${text.length} characters`)
    const found = finishedOf(text, 0, 0, 40_000)
    assert.ok(found.length > 1_000)
    assert.deepEqual(
      found,
      Array.from({ length: found.length }, (_, n) => 2 * n + 1),
    )
  })

  it('is said again until it has been read again', () => {
    const first = new Ledger()
    for (let offset = 0; offset < 100; offset++) first.take(offset, 0)
    for (let offset = 1; offset < 100; offset++) if (offset !== 70) first.finish(offset)
    for (const read of [1, 10, 50, 69, 70, 71, 99]) {
      for (const isFirstDone of [false, true]) {
        const second = new Ledger(FinishedBefore.read({ offset: 0, text: first.beyond(1_000) }))
        for (let offset = 0; offset < read; offset++) second.take(offset, 0)
        if (isFirstDone) second.finish(0)
        const offset = second.committable()?.offset
        if (offset === undefined) continue
        const third = FinishedBefore.read({ offset, text: second.beyond(2_000) })
        for (let at = offset; at < 100; at++) {
          const isFinished = at !== 0 && at !== 70
          assert.equal(third?.has(at, 500) ?? false, isFinished, `${at} of those read up to ${read}`)
        }
      }
    }
  })

  it('says nothing of records that are younger: the topic was made anew', () => {
    const before = FinishedBefore.read({ offset: 10, text: encodeBeyond(10, 20, [10], 1_000) })
    assert.equal(before?.has(11, 1_001), false)
    assert.equal(before?.has(11, 1_000), true)
  })

  it('is nothing when somebody else wrote it', () => {
    for (const text of ['', 'consumer-7', '1:', '1:zz', '2:1:AAAA', '1:x:', '1::AQE', '{"a":1}'])
      assert.equal(FinishedBefore.read({ offset: 0, text }), undefined, text)
  })
})

/** Keeps everything and looks through all of it each time. */
class Model {
  /** All that there is in the partition, ascending. */
  readonly #records: number[] = []
  #finished = new Set<number>()
  /** What was finished when it was committed last. */
  #stored = new Set<number>()
  #isDirty = false
  #committedHere = false
  taken: number[] = []
  open = new Set<number>()
  committed = -1
  next = 0

  /** The next record, made when there is none. */
  following(gap: number): number {
    const known = this.#records.find((offset) => offset >= this.next)
    if (known !== undefined) return known
    const offset = this.next + gap
    this.#records.push(offset)
    return offset
  }

  take(offset: number): boolean {
    this.taken.push(offset)
    this.next = offset + 1
    if (this.#stored.has(offset)) {
      this.#finished.add(offset)
      this.#isDirty = true
      return false
    }
    this.open.add(offset)
    return true
  }

  finish(offset: number): void {
    this.open.delete(offset)
    this.#finished.add(offset)
    this.#isDirty = true
  }

  committable(): number | undefined {
    if (this.taken.length === 0) return undefined
    const isFurther = this.#committedHere && this.#place() > this.committed
    return this.#isDirty || isFurther ? this.#place() : undefined
  }

  /** How many records that covers anew. */
  commit(place: number): number {
    const covered = this.taken.filter((offset) => offset >= this.committed && offset < place).length
    this.committed = place
    this.#stored = new Set([...this.#finished].filter((offset) => offset >= place))
    this.#isDirty = false
    this.#committedHere = true
    return covered
  }

  revoke(): void {
    this.next = Math.max(0, this.committed)
    this.taken = []
    this.open = new Set()
    this.#finished = new Set()
    this.#isDirty = false
    this.#committedHere = false
  }

  span(): number {
    return this.taken.filter((offset) => offset >= this.#place()).length
  }

  #place(): number {
    return this.open.size === 0 ? this.next : Math.min(...this.open)
  }
}
