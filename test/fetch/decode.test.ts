import assert from 'node:assert/strict'
import { test } from 'node:test'
import { brotliCompressSync, constants, gzipSync, zstdCompressSync } from 'node:zlib'
import { DecodeError, decodeBody } from '../../src/fetch/decode.ts'

const brotliFast = { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }
const ENCODERS = {
  gzip: (body: Buffer) => gzipSync(body),
  br: (body: Buffer) => brotliCompressSync(body, brotliFast),
  zstd: (body: Buffer) => zstdCompressSync(body),
}
const MB = 1_000_000

for (const [name, encode] of Object.entries(ENCODERS)) {
  test(`decodes ${name}, small and large`, async () => {
    for (const size of [10, 50_000, 3 * MB]) {
      const plain = Buffer.from('millrace '.repeat(size / 9 + 1))
      assert.deepEqual(await decodeBody(encode(plain), name, 10 * MB), plain)
    }
  })

  test(`ends a ${name} bomb early`, async () => {
    const bomb = encode(Buffer.alloc(60 * MB))
    const costUs = async (work: () => Promise<unknown>) => {
      const cpu = process.cpuUsage()
      await work()
      return process.cpuUsage(cpu).user
    }
    const wholeUs = await costUs(async () => decodeBody(bomb, name, 61 * MB))
    const early = []
    for (let turn = 0; turn < 5; turn++) {
      early.push(
        await costUs(() =>
          assert.rejects(
            async () => decodeBody(bomb, name, MB),
            (error: unknown) => error instanceof DecodeError && error.reason === 'too_large',
          ),
        ),
      )
    }
    // The best of five: the collector's work is counted too.
    assert.ok(Math.min(...early) < wholeUs / 4, `1 of 60 MB took ${Math.min(...early)} µs, all ${wholeUs} µs`)
  })

  test(`takes ${name} that is cut short, or is not ${name}, for a bad response`, async () => {
    const whole = encode(Buffer.from(JSON.stringify({ list: Array.from({ length: 5_000 }, Math.random) })))
    const wrong = (error: unknown) => error instanceof DecodeError && error.reason === 'bad_response'
    await assert.rejects(async () => decodeBody(whole.subarray(0, whole.length >> 1), name, MB), wrong)
    await assert.rejects(async () => decodeBody(Buffer.from('{"plain":true}'), name, MB), wrong)
  })
}

test('decodes two layers in their order, and refuses three', async () => {
  const plain = Buffer.from('layers')
  const twice = brotliCompressSync(gzipSync(plain))
  assert.deepEqual(await decodeBody(twice, 'gzip, br', MB), plain)
  assert.throws(() => decodeBody(twice, 'gzip, gzip, br', MB), DecodeError)
})

test('bounds every layer of two, not only the last', async () => {
  const bomb = gzipSync(gzipSync(Buffer.alloc(60 * MB)))
  await assert.rejects(async () => decodeBody(bomb, 'gzip, gzip', MB), { reason: 'too_large' })
})

test('leaves what is not encoded as it is', () => {
  const plain = Buffer.from('plain')
  assert.equal(decodeBody(plain, undefined, MB), plain)
  assert.equal(decodeBody(plain, 'identity', MB), plain)
  assert.equal(decodeBody(Buffer.alloc(0), 'gzip', MB).valueOf().toString(), '')
})

test('takes an unknown encoding for a bad response', () => {
  for (const name of ['compress', 'toString', 'deflate', 'dcb']) {
    assert.throws(
      () => decodeBody(Buffer.from('?'), name, MB),
      (error: unknown) => error instanceof DecodeError && error.reason === 'bad_response',
    )
  }
})
