import assert from 'node:assert/strict'
import { test } from 'node:test'
import { markOf, Replayed } from '../../src/dead-letters/replayed.ts'

const letter = { id: { partition: 3, offset: 1_207 }, atMs: Date.UTC(2026, 0, 31, 8) }
const sent = { topic: 'millrace.jobs', atMs: Date.UTC(2026, 1, 1) }

test('a mark names its letter, where it went and when', () => {
  const { key, value } = markOf(letter, sent)
  assert.equal(String(key), '3-1207')
  assert.deepEqual(JSON.parse(String(value)), {
    topic: 'millrace.jobs',
    replayed_at: '2026-02-01T00:00:00.000Z',
    dead_at: '2026-01-31T08:00:00.000Z',
  })
})

test('a marked letter was replayed, others at other places or of other times were not', () => {
  const marks = new Replayed()
  assert.equal(marks.has(letter), false)
  marks.add(markOf(letter, sent))
  assert.equal(marks.has(letter), true)
  assert.equal(marks.has({ ...letter, id: { partition: 3, offset: 1_208 } }), false)
  assert.equal(marks.has({ ...letter, id: { partition: 2, offset: 1_207 } }), false)
  // The topic was made anew: this is another letter.
  assert.equal(marks.has({ ...letter, atMs: letter.atMs + 1 }), false)
})

test('a mark made by hand counts without a time, and one without a value takes it back', () => {
  const marks = new Replayed()
  marks.add({ key: Buffer.from('3-1207'), value: Buffer.from('by hand') })
  assert.equal(marks.has(letter), true)
  marks.add({ key: Buffer.from('3-1207'), value: null })
  assert.equal(marks.has(letter), false)
  marks.add({ key: null, value: Buffer.from('no mark') })
  marks.add({ key: Buffer.from('neither'), value: Buffer.from('{}') })
  assert.equal(marks.has(letter), false)
})
