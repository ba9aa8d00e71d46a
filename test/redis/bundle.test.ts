import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bundle } from '../../src/redis/bundle.ts'

test('what is asked in one turn goes in one call, and each gets its own answer', async () => {
  const calls: (readonly number[])[] = []
  const bundle = new Bundle<number, string>(async (questions) => {
    calls.push(questions)
    return questions.map((question) => `${question}!`)
  })
  assert.deepEqual(await Promise.all([1, 2, 3].map((one) => bundle.ask(one))), ['1!', '2!', '3!'])
  assert.equal(await bundle.ask(4), '4!')
  assert.deepEqual(calls, [[1, 2, 3], [4]])
})

test('no call has more than 200 questions', async () => {
  const sizes: number[] = []
  const bundle = new Bundle<number, number>(async (questions) => {
    sizes.push(questions.length)
    return questions
  })
  const asked = Array.from({ length: 450 }, (_, index) => index)
  assert.deepEqual(await Promise.all(asked.map((one) => bundle.ask(one))), asked)
  assert.deepEqual(sizes, [200, 200, 50])
})

test('a call that fails fails for all who asked in it, and for nobody after them', async () => {
  let isAway = true
  const bundle = new Bundle<number, number>(async (questions) => {
    if (isAway) throw new Error('away')
    return questions
  })
  const both = await Promise.allSettled([bundle.ask(1), bundle.ask(2)])
  assert.deepEqual(
    both.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  isAway = false
  assert.equal(await bundle.ask(3), 3)
})
