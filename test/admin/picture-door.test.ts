import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PictureDoor } from '../../src/admin/picture-door.ts'

test('opens what was named, says its type, and reads the store once for many', async () => {
  const reads: string[] = []
  const door = new PictureDoor(async (key) => {
    reads.push(key)
    return Buffer.from('bytes')
  })
  assert.equal(await door.open('pictures/a.jpg'), null, 'not named yet')
  door.name(['pictures/a.jpg', 'pictures/a.svg', 'pictures/a.html'])
  const all = await Promise.all(Array.from({ length: 16 }, () => door.open('pictures/a.jpg')))
  for (const one of all) assert.deepEqual(one, { type: 'image/jpeg', body: Buffer.from('bytes') })
  assert.deepEqual(await door.open('pictures/a.jpg'), all[0], 'kept')
  assert.equal(await door.open('pictures/a.svg'), null, 'no type that a browser would run')
  assert.equal(await door.open('pictures/a.html'), null)
  assert.deepEqual(reads, ['pictures/a.jpg'])
})

test('forgets the oldest names', async () => {
  const door = new PictureDoor(async () => Buffer.from('bytes'))
  door.name(Array.from({ length: 1_001 }, (_, index) => `${index}.png`))
  assert.equal(await door.open('0.png'), null)
  assert.notEqual(await door.open('1.png'), null)
})

test('reads a few at once, lets some wait and sends the rest away', async () => {
  const reading: (() => void)[] = []
  const door = new PictureDoor(async () => {
    await new Promise<void>((resolve) => reading.push(resolve))
    return Buffer.from('bytes')
  })
  const keys = Array.from({ length: 70 }, (_, index) => `${index}.webp`)
  door.name(keys)
  const opened = keys.map((key) => door.open(key))
  assert.equal(reading.length, 4)
  assert.equal(await opened[69], 'busy')
  let ended = 0
  for (const one of opened) void one.then(() => ended++)
  while (ended < 70) {
    for (const end of reading.splice(0)) end()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const answers = await Promise.all(opened)
  assert.equal(answers.filter((one) => one === 'busy').length, 6)
  assert.equal(answers.filter((one) => typeof one === 'object' && one !== null).length, 64)
})

test('a store that fails is asked again, and one picture too large is none', async () => {
  let answer: () => Promise<Buffer | null> = () => Promise.reject(new Error('away'))
  const door = new PictureDoor(() => answer())
  door.name(['a.jpg', 'b.jpg'])
  await assert.rejects(door.open('a.jpg'), /away/)
  answer = async () => Buffer.from('bytes')
  assert.notEqual(await door.open('a.jpg'), null)
  answer = async () => Buffer.alloc(1024 * 1024 + 1)
  assert.equal(await door.open('b.jpg'), null)
})
