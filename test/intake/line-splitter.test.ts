import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { LineSplitter } from '../../src/intake/line-splitter.ts'

describe('line splitter', () => {
  it('finds the same lines wherever the chunks are cut, with their places', () => {
    const text = fc
      .array(fc.oneof(fc.constant('\n'), fc.string({ maxLength: 6 })), { maxLength: 30 })
      .map((a) => a.join(''))
    fc.assert(
      fc.property(
        text,
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        fc.nat(1000),
        (content, sizes, start) => {
          const bytes = Buffer.from(content)
          const splitter = new LineSplitter(start, 100)
          const lines = []
          for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
            const size = sizes[turn % sizes.length]!
            // A copy that is wiped afterwards: the splitter must not keep views into it.
            const chunk = Buffer.from(bytes.subarray(at, at + size))
            lines.push(...splitter.push(chunk))
            chunk.fill(0)
            at += size
          }
          const last = splitter.end()
          if (last !== undefined) lines.push(last)
          assert.equal(splitter.next, start + bytes.length)
          const expected = content.split('\n')
          if (expected.at(-1) === '') expected.pop()
          assert.deepEqual(
            lines.map(({ value }) => value.toString()),
            expected,
          )
          for (const { offset, value, length } of lines) {
            assert.deepEqual(bytes.subarray(offset - start, offset - start + length), value)
          }
        },
      ),
    )
  })

  it('keeps only the beginning of a line above the bound, and its true length', () => {
    const splitter = new LineSplitter(0, 10)
    const lines = [
      ...splitter.push(Buffer.from('0123456')),
      ...splitter.push(Buffer.from('789abcdef\nnext\n')),
    ]
    assert.deepEqual(
      lines.map(({ offset, value, length }) => [offset, value.toString(), length]),
      [
        [0, '0123456789', 16],
        [17, 'next', 4],
      ],
    )
  })

  it('reads again what it was told to forget', () => {
    const splitter = new LineSplitter(0, 10)
    splitter.push(Buffer.from('a\ntor'))
    splitter.forgetTail()
    assert.equal(splitter.next, 2)
    assert.deepEqual(splitter.push(Buffer.from('whole\n'))[0]!.value.toString(), 'whole')
  })
})
