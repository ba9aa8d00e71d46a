import assert from 'node:assert/strict'
import { test } from 'node:test'
import { groupTable, leftOutText, sentText } from '../../src/cli/dlq-text.ts'
import { prettyJson } from '../../src/cli/pretty-json.ts'
import { cutText, printable } from '../../src/cli/printable.ts'
import type { LetterGroup } from '../../src/dead-letters/groups.ts'

test('JSON is indented and otherwise left as it is written', () => {
  const value = { a: [1, { b: null }, []], 'c:{"': 'x,\n"\\', d: {}, e: 'ü' }
  assert.equal(prettyJson(JSON.stringify(value)), JSON.stringify(value, null, 2))
  assert.equal(
    prettyJson(' { "n" : 1.0e400 ,\n"n": 12345678901234567890 } '),
    '{\n  "n": 1.0e400,\n  "n": 12345678901234567890\n}',
  )
  for (const plain of ['"x"', '1', 'null', '[]', '{}']) assert.equal(prettyJson(plain), plain)
})

test('JSON that is nested without end is left as it is', () => {
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
  assert.equal(prettyJson(deep), deep)
})

test('nothing that is printed moves the cursor or turns the writing', () => {
  assert.equal(printable('a\u001b[2J\u0007\u009b\u202eb\u00e9'), 'a\\u{1b}[2J\\u{7}\\u{9b}\\u{202e}bé')
  assert.equal(printable('a\nb\tc\r'), 'a\\u{a}b\\u{9}c\\u{d}')
  assert.equal(printable('a\nb\tc\r', { multiline: true }), 'a\nb\tc\\u{d}')
  assert.equal(cutText('abcdef', 4), 'abc…')
  assert.equal(cutText('abcd', 4), 'abcd')
})

test('the table of groups fits the terminal; its message is what gives way', () => {
  const group: LetterGroup = {
    platform: 'instagram',
    reason: 'bad_response',
    count: 12_345,
    replayed: 2,
    oldestMs: Date.UTC(2026, 0, 31, 8),
    newestMs: Date.UTC(2026, 0, 31, 9),
    newestId: { partition: 3, offset: 1_207 },
    message: 'm'.repeat(300),
  }
  const widest = (columns: number | undefined) =>
    Math.max(
      ...groupTable([group], { columns, nowMs: group.newestMs })
        .split('\n')
        .map((line) => line.length),
    )
  assert.equal(widest(140), 140)
  assert.equal(widest(200), 200)
  assert.ok(widest(10) > 60, 'in a narrow one something of it is there')
  assert.match(
    groupTable([group], { columns: undefined, nowMs: group.newestMs }),
    / 3-1207 +m{79}…\n12,345 dead letters, 2 replayed$/,
  )
})

test('the last line says what went where, and what did not', () => {
  assert.equal(sentText(new Map([['a', 1_200]]), 'sent back'), '1,200 sent back to a')
  assert.equal(
    sentText(
      new Map([
        ['a', 3],
        ['b', 4],
      ]),
      'sent back',
    ),
    '7 sent back to a (3), b (4)',
  )
  assert.equal(sentText(new Map(), 'would be sent back'), '0 would be sent back')
  assert.equal(leftOutText(new Map([['cut', 0]])), '')
  assert.equal(
    leftOutText(
      new Map([
        ['replayed', 2],
        ['refused', 1],
      ]),
    ),
    '3 left out: 2 replayed before, 1 too large for the topic',
  )
})
