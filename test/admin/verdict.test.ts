import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ConsoleEvent, Status } from '../../src/admin/status.ts'
import { busy } from './busy.ts'
import { STATUS } from './source.ts'

interface Verdict {
  readonly state: 'fine' | 'watch' | 'bad'
  readonly text: string
}
type VerdictOf = (
  event: ConsoleEvent,
  rates: Readonly<Record<string, number>>,
  nowMs: number,
) => Readonly<Record<'headline' | 'upstream' | 'limits' | 'sinks' | 'daemon', Verdict>>

/** A module of the page: plain JavaScript, checked by a configuration of its own. */
const { verdictOf } = (await import(new URL('../../src/admin/console/verdict.js', import.meta.url).href)) as {
  verdictOf: VerdictOf
}

function eventOf(status: Status): ConsoleEvent {
  return { ...status, ready: { ready: true, reasons: [] }, canChange: false, point: null }
}

test('an upstream that nobody has asked does not answer', () => {
  const { headline, upstream } = verdictOf(eventOf(STATUS), {}, Date.now())
  assert.deepEqual(headline, { state: 'fine', text: 'Ready: no job has come yet.' })
  assert.equal(upstream.text, 'Nothing has been asked of it yet.')
})

test('calls that fail are told when they are a good part of what is tried, and not when a few are', () => {
  const one = busy(10)
  const event = eventOf({ ...one, levels: [] })
  const few = verdictOf(event, { ended: 20, 'failed:timeout': 4 }, Date.now())
  assert.deepEqual(few.upstream, { state: 'fine', text: 'Every platform answers.' })
  const many = verdictOf(event, { ended: 2, 'failed:timeout': 4 }, Date.now())
  assert.deepEqual(many.upstream, { state: 'watch', text: 'Calls of youtube fail: timeout, 4.0/s.' })
  assert.deepEqual(many.headline, many.upstream)
  // What dies for its own reasons says nothing of the platform.
  const wrong = verdictOf(event, { ended: 5, 'failed:not_found': 5 }, Date.now())
  assert.equal(wrong.upstream.state, 'fine')
})
