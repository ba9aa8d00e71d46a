import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Millrace } from '../daemon/process.ts'

test('millrace query prints what the embedded database holds, exactly, and says what is wrong', async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), 'millrace-query-'))
  t.after(() => rmSync(cwd, { recursive: true, force: true, maxRetries: 10 }))
  const run = (...args: string[]) => new Millrace(args, { cwd }).ended
  const query = (...args: string[]) => run('query', ...args)

  const nothing = await query('SELECT 1')
  assert.equal(nothing.code, 1, nothing.stdout)
  assert.match(nothing.stderr, /^millrace: [^\n]*database[^\n]*\n$/)

  assert.equal((await run('migrate')).code, 0)
  const columns =
    "18446744073709551615 AS most, -9007199254740993::Int64 AS least, 0.0612 AS rate, 'é' AS word"
  const shown = await query(`SELECT ${columns}`)
  assert.deepEqual(shown, {
    code: 0,
    stderr: '',
    stdout: [
      '                        most                   least    rate  word',
      '  18,446,744,073,709,551,615  -9,007,199,254,740,993  0.0612  é',
      '',
    ].join('\n'),
  })
  const lines = await query('--json', `SELECT ${columns}, [18446744073709551615] AS many;`)
  assert.equal(
    lines.stdout,
    '{"most":18446744073709551615,"least":-9007199254740993,"rate":0.0612,"word":"é","many":[18446744073709551615]}\n',
  )
  assert.equal((await query('SELECT 1 WHERE 0')).stdout, 'no rows\n')
  assert.equal((await query('--json', 'SELECT 1 WHERE 0')).stdout, '')

  for (const [sql, code, says] of [
    ['DROP TABLE points', 2, /expected a SELECT/],
    ['SELECT nobody FROM points', 1, /Unknown expression identifier `nobody`/],
    ['SELECT 1 FROM nowhere', 1, /nowhere/],
  ] as const) {
    const refused = await query(sql)
    assert.deepEqual([refused.code, refused.stdout], [code, ''], sql)
    assert.match(refused.stderr, says)
    assert.match(refused.stderr, /^millrace: [^\n]+\n$/)
  }
})
