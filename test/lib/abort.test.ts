import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { joined, onAbort, sleep } from '../../src/lib/abort.ts'

test('one listener serves all who listen to a signal, and goes with the last of them', () => {
  const control = new AbortController()
  const heard: number[] = []
  const forgets = Array.from({ length: 5 }, (_, i) => onAbort(control.signal, () => heard.push(i)))
  assert.equal(getEventListeners(control.signal, 'abort').length, 1)
  forgets[1]?.()
  control.abort()
  assert.deepEqual(heard, [0, 2, 3, 4])
  for (const forget of forgets) forget()
  const other = new AbortController()
  onAbort(other.signal, () => {})()
  assert.equal(getEventListeners(other.signal, 'abort').length, 0)
})

test('an aborted signal calls back at once', () => {
  let heard = false
  onAbort(AbortSignal.abort(), () => {
    heard = true
  })
  assert.ok(heard)
})

test("a sleep ends early with the signal's reason, and leaves nothing behind", async () => {
  const control = new AbortController()
  const sleeping = sleep(60_000, control.signal)
  control.abort(new Error('enough'))
  await assert.rejects(sleeping, /enough/)
  await assert.rejects(sleep(1, control.signal), /enough/)
  const quiet = new AbortController()
  await sleep(1, quiet.signal)
  assert.equal(getEventListeners(quiet.signal, 'abort').length, 0)
})

test('joined signals are aborted by the first of them, and let go of the others', () => {
  const [partition, stop] = [new AbortController(), new AbortController()]
  const signal = joined([partition.signal, stop.signal])
  assert.equal(signal.aborted, false)
  partition.abort(new Error('lost'))
  assert.match(String(signal.reason), /lost/)
  assert.equal(getEventListeners(stop.signal, 'abort').length, 0)
  stop.abort(new Error('stopped'))
  assert.match(String(signal.reason), /lost/)
  assert.match(String(joined([new AbortController().signal, stop.signal]).reason), /stopped/)
})
