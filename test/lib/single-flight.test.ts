import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Leash } from '../../src/images/leash.ts'
import { SingleFlight } from '../../src/lib/single-flight.ts'

test('work asked for several times at once is done once', async () => {
  const flights = new SingleFlight<number>()
  const { promise, resolve } = Promise.withResolvers<number>()
  let times = 0
  const work = () => {
    times++
    return promise
  }
  const asked = ['k', 'k', 'k'].map((key) => flights.run(key, work, new AbortController().signal))
  assert.equal(flights.size, 1)
  resolve(7)
  assert.deepEqual(await Promise.all(asked), [7, 7, 7])
  assert.equal(times, 1)
  assert.equal(flights.size, 0)
  assert.equal(await flights.run('k', async () => 8, new AbortController().signal), 8)
})

test('the work goes on while one still waits, and is aborted when the last has left', async () => {
  const flights = new SingleFlight<number>()
  let seen: AbortSignal | undefined
  const work = (signal: AbortSignal) => {
    seen = signal
    return new Promise<number>(() => {})
  }
  const [one, two] = [new AbortController(), new AbortController()]
  const first = flights.run('k', work, one.signal)
  const second = flights.run('k', work, two.signal)
  one.abort(new Error('one'))
  await assert.rejects(first, /one/)
  assert.equal(seen?.aborted, false)
  two.abort(new Error('two'))
  await assert.rejects(second, /two/)
  assert.equal(seen?.aborted, true)
  assert.equal(
    await flights.run('k', async () => 9, new AbortController().signal),
    9,
    'a new one begins anew',
  )
})

test('a failure reaches everybody and is not remembered', async () => {
  const flights = new SingleFlight<number>()
  const fail = async () => {
    throw new Error('no')
  }
  const signal = new AbortController().signal
  const asked = [flights.run('k', fail, signal), flights.run('k', fail, signal)]
  for (const one of asked) await assert.rejects(one, /no/)
  assert.equal(await flights.run('k', async () => 1, signal), 1)
})

test('a leash aborts what it holds, and later holders at once, and nothing that was released', () => {
  const leash = new Leash()
  const caller = new AbortController()
  const [held, released, follower] = [
    leash.hold(caller.signal),
    leash.hold(caller.signal),
    new AbortController(),
  ]
  const following = leash.hold(follower.signal)
  released.release()
  follower.abort(new Error('mine'))
  assert.equal((following.signal.reason as Error).message, 'mine')
  leash.pull(new Error('stop'))
  assert.equal((held.signal.reason as Error).message, 'stop')
  assert.equal(released.signal.aborted, false)
  assert.equal(leash.hold(caller.signal).signal.aborted, true)
})
