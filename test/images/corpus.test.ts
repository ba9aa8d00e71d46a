import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { corpus } from './corpus.ts'
import { drawn } from './sources.ts'
import { openPool } from './stage-parts.ts'

// Made before a pool starts, which forbids other loaders in the whole process.
const files = await corpus()
const seeds = await Promise.all(
  (['jpeg', 'png', 'webp', 'gif', 'avif'] as const).map(async (format) => ({
    format,
    file: await drawn(96, 64)
      .toFormat(format, format === 'avif' ? { effort: 0 } : {})
      .toBuffer(),
  })),
)

test(`each of ${files.length} hostile or odd files has its outcome`, async (t) => {
  const { pool } = await openPool(t)
  await pool.start()
  for (const { name, file, outcome } of files) {
    await t.test(name, async () => {
      const result = await pool.resize({ bytes: new Uint8Array(file), sha256: 'a'.repeat(64) }, t.signal)
      if (result.status === 'rejected') {
        if (typeof outcome === 'string') assert.fail(`made ${outcome} expected, but it ${result.why}`)
        assert.match(result.why, outcome)
        assert.ok(result.why.length < 300 && !/\n|bad seek/.test(result.why), result.why)
      } else {
        const { width, height, bytes } = result.made.find(({ variant }) => variant.name === 'full')!
        assert.equal(`${width}x${height}`, outcome)
        const opened = await sharp(bytes).metadata()
        assert.deepEqual(
          [opened.format, opened.width, opened.height, opened.space],
          ['jpeg', width, height, 'srgb'],
        )
        for (const stripped of ['exif', 'icc', 'xmp', 'iptc', 'comments'] as const)
          assert.equal(opened[stripped], undefined, stripped)
      }
    })
  }
})

test('a file cut at any of 32 places is refused, whatever its format', async (t) => {
  const { pool } = await openPool(t)
  await pool.start()
  for (const { format, file } of seeds) {
    for (let cut = 0; cut < 32; cut++) {
      const length = Math.floor((file.length * cut) / 32)
      const result = await pool.resize(
        { bytes: new Uint8Array(file.subarray(0, length)), sha256: 'a'.repeat(64) },
        t.signal,
      )
      assert.equal(result.status, 'rejected', `${format} of ${file.length} bytes, cut at ${length}`)
    }
  }
})

test('500 files with wrong bytes in them are made or refused, and nothing else happens', async (t) => {
  const { pool } = await openPool(t)
  await pool.start()
  let [state, made, refused] = [1, 0, 0]
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >> 8) % below
  }
  for (let round = 0; round < 100; round++) {
    for (const { format, file } of seeds) {
      const bytes = new Uint8Array(file)
      for (let wrong = random(4); wrong >= 0; wrong--) bytes[random(bytes.length)] = random(256)
      const result = await pool.resize({ bytes, sha256: 'a'.repeat(64) }, t.signal)
      if (result.status === 'made') made++
      else {
        refused++
        assert.doesNotMatch(result.why, /worker failed/, format)
      }
    }
  }
  t.diagnostic(`${made} made, ${refused} refused`)
  assert.ok(made > 0 && refused > 0)
})
