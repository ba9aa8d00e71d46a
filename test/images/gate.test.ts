import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Gate, type Pass } from '../../src/images/gate.ts'

const never = new AbortController().signal

/** Notes in `order` when somebody is let in. */
async function entered(gate: Gate, weight: number, order: string[], name: string): Promise<Pass> {
  const pass = await gate.enter(weight, never)
  order.push(name)
  return pass
}

test('lets in as many as fit, by count and by weight, in order', async () => {
  const gate = new Gate({ countMax: 3, weightMax: 10 })
  const order: string[] = []
  const a = await entered(gate, 4, order, 'a')
  const b = await entered(gate, 4, order, 'b')
  const heavy = entered(gate, 5, order, 'heavy')
  const light = entered(gate, 1, order, 'light')
  await setImmediate()
  assert.deepEqual(order, ['a', 'b'], 'the light one does not overtake the heavy one')
  assert.deepEqual([gate.inside, gate.weight, gate.waiting], [2, 8, 2])
  a.leave()
  a.leave()
  await Promise.all([heavy, light])
  assert.deepEqual(order, ['a', 'b', 'heavy', 'light'])
  assert.deepEqual([gate.inside, gate.weight], [3, 10])
  b.leave()
  assert.deepEqual([gate.inside, gate.weight], [2, 6])
})

test('whoever turns out heavier keeps others out, whoever turns out lighter lets them in', async () => {
  const gate = new Gate({ countMax: 10, weightMax: 10 })
  const order: string[] = []
  const a = await entered(gate, 1, order, 'a')
  a.reweigh(30)
  const b = entered(gate, 1, order, 'b')
  await setImmediate()
  assert.deepEqual(order, ['a'])
  a.reweigh(9)
  await b
  assert.equal(gate.weight, 10)
})

test('an empty gate lets in whatever it weighs, or nothing large could ever pass', async () => {
  const gate = new Gate({ countMax: 2, weightMax: 10 })
  const pass = await gate.enter(1_000, never)
  pass.leave()
  assert.deepEqual([gate.inside, gate.weight], [0, 0])
})

test('one who leaves the queue makes room for those behind', async () => {
  const gate = new Gate({ countMax: 5, weightMax: 10 })
  const order: string[] = []
  await entered(gate, 6, order, 'a')
  const control = new AbortController()
  const heavy = gate.enter(8, control.signal)
  const light = entered(gate, 2, order, 'light')
  control.abort(new Error('gone'))
  await assert.rejects(heavy, /gone/)
  await light
  assert.deepEqual(order, ['a', 'light'])
  await assert.rejects(() => gate.enter(1, control.signal), /gone/)
})
