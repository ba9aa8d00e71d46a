import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { HEADERS } from '../../src/job/job.ts'
import { cutRecords, decodeVarint, encodeVarint } from '../../src/kafka/record-cutter.ts'

interface Inner {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: readonly (readonly [string, Buffer])[]
}

const roomy = { bytesMax: 1_000_000, recordBytesMax: 1_000_000 }

describe('record cutter', () => {
  it('keeps varints over the whole range of 32 bits', () => {
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), (value) => {
        const bytes = encodeVarint(value)
        assert.deepEqual(decodeVarint(bytes, 0), { value, end: bytes.length })
        assert.equal(decodeVarint(bytes.subarray(0, -1), 0), undefined)
      }),
    )
  })

  it('changes nothing while all fits, wherever the chunks are cut', async () => {
    const bytes = fc.uint8Array({ maxLength: 5_000 }).map((array) => Buffer.from(array))
    const record = fc.record({
      key: fc.option(bytes),
      value: fc.option(bytes),
      headers: fc.array(fc.tuple(fc.string(), bytes), { maxLength: 2 }),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { maxLength: 8 }),
        fc.integer({ min: 1, max: 3_000 }),
        async (records, size) => {
          const whole = Buffer.concat(records.map(encode))
          assert.deepEqual(await cutRecords(chunked(whole, size), roomy), whole)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('cuts what is too large, keeps its place and key, and every other record', async () => {
    const records: Inner[] = [
      { key: Buffer.from('a'), value: Buffer.from('small'), headers: [['h', Buffer.from('1')]] },
      { key: Buffer.from('b'), value: Buffer.alloc(200_000, 'x'), headers: [['h', Buffer.from('2')]] },
      { key: null, value: Buffer.alloc(200_000, 'y'), headers: [] },
      { key: Buffer.from('c'), value: null, headers: [] },
    ]
    const whole = Buffer.concat(records.map(encode))
    for (const size of [7, 1_000, 65_536, 1_000_000]) {
      const out = decodeAll(
        await cutRecords(chunked(whole, size), { bytesMax: 1_000_000, recordBytesMax: 100_000 }),
      )
      const note = [[HEADERS.cut, Buffer.from('200000')]]
      assert.deepEqual(out, [
        records[0],
        { key: Buffer.from('b'), value: Buffer.alloc(1024, 'x'), headers: note },
        { key: null, value: Buffer.alloc(1024, 'y'), headers: note },
        records[3],
      ])
    }
  })

  it('keeps whole records only until the bound of the batch', async () => {
    const records = Array.from({ length: 10 }, (_, n) => ({
      key: Buffer.from([n]),
      value: Buffer.alloc(50_000),
      headers: [],
    }))
    const cut = await cutRecords([Buffer.concat(records.map(encode))], {
      bytesMax: 220_000,
      recordBytesMax: 100_000,
    })
    assert.ok(cut.length < 220_000 + 10 * 1_200)
    const out = decodeAll(cut)
    assert.deepEqual(
      out.map(({ key }) => key![0]),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    )
    assert.deepEqual(
      out.map(({ value }) => value!.length),
      [...Array(4).fill(50_000), ...Array(6).fill(1024)],
    )
  })

  it('goes on without a key that is itself too large', async () => {
    const hostile = { key: Buffer.alloc(300_000, 'k'), value: Buffer.alloc(10, 'v'), headers: [] }
    const [out, next] = decodeAll(
      await cutRecords([Buffer.concat([encode(hostile), encode({ ...hostile, key: null })])], {
        ...roomy,
        recordBytesMax: 1000,
      }),
    )
    assert.equal(out!.key, null)
    assert.equal(out!.value!.length, 1024)
    assert.deepEqual(next, { key: null, value: hostile.value, headers: [] })
  })
})

function* chunked(whole: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size)
}

function encode({ key, value, headers }: Inner): Buffer {
  const bytes = (part: Buffer | null) =>
    part === null ? [encodeVarint(-1)] : [encodeVarint(part.length), part]
  const body = Buffer.concat([
    Buffer.from([0]),
    encodeVarint(1234),
    encodeVarint(7),
    ...bytes(key),
    ...bytes(value),
    encodeVarint(headers.length),
    ...headers.flatMap(([name, header]) => [...bytes(Buffer.from(name)), ...bytes(header)]),
  ])
  return Buffer.concat([encodeVarint(body.length), body])
}

function decodeAll(buffer: Buffer): Inner[] {
  const records: Inner[] = []
  let at = 0
  const varint = () => {
    const { value, end } = decodeVarint(buffer, at)!
    at = end
    return value
  }
  const bytes = () => {
    const length = varint()
    if (length < 0) return null
    at += length
    return Buffer.from(buffer.subarray(at - length, at))
  }
  while (at < buffer.length) {
    const end = varint() + at
    at += 1
    assert.deepEqual([varint(), varint()], [1234, 7])
    const [key, value] = [bytes(), bytes()]
    const headers = Array.from({ length: varint() }, () => [bytes()!.toString(), bytes()!] as const)
    assert.equal(at, end)
    records.push({ key, value, headers })
  }
  return records
}
