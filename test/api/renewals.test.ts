import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Renewals } from '../../src/api/cache/renewals.ts'

test('one after the other, none twice, and a failure stops nothing', async () => {
  const renewals = new Renewals()
  const made: string[] = []
  let running = 0
  const all = Promise.withResolvers<void>()
  const make = (id: string) => async () => {
    running++
    assert.equal(running, 1, `${id} beside another one`)
    assert.ok(renewals.waits(id), 'whoever asks for it meanwhile need not add it')
    await new Promise((resolve) => setImmediate(resolve))
    running--
    made.push(id)
    if (id === 'last') all.resolve()
    if (id === 'b') throw new Error('the database is away')
  }
  for (const id of ['a', 'b', 'a', 'c', 'b', 'last']) renewals.add(id, make(id))
  await all.promise
  assert.deepEqual(made, ['a', 'b', 'c', 'last'])
  const again = Promise.withResolvers<void>()
  renewals.add('a', async () => again.resolve())
  await again.promise
})
