import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pause } from '../../src/pipeline/pause.ts'

const never = new AbortController().signal

test('a pause ends for all who wait in one turn of the loop, and can be had again', async () => {
  const pause = new Pause()
  for (let round = 0; round < 2; round += 1) {
    const over: number[] = []
    let turns = 0
    const all = Array.from({ length: 50 }, () => pause.wait(5, never).then(() => over.push(turns)))
    const counting = setInterval(() => void turns++, 1)
    await Promise.all(all)
    clearInterval(counting)
    assert.equal(new Set(over).size, 1)
  }
})

test('who is given up waits no longer; the pause goes on for the others', async () => {
  const pause = new Pause()
  const alone = new AbortController()
  const first = pause.wait(5, alone.signal)
  alone.abort(new Error('lost'))
  await assert.rejects(first, /lost/)
  await assert.rejects(pause.wait(5, alone.signal), /lost/)
  const one = new AbortController()
  const both = [pause.wait(5, one.signal), pause.wait(60_000, never)] as const
  one.abort(new Error('lost'))
  await assert.rejects(both[0], /lost/)
  await both[1]
})
