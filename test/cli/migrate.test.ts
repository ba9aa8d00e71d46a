import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { planMigration, readMigrations } from '../../src/timeseries/migrate.ts'
import { Millrace } from '../daemon/process.ts'
import { need } from '../need.ts'

/** A database of its own that is not there yet, and is dropped after the test. */
function ownDatabase(t: TestContext, url: string) {
  const database = `test_${randomUUID().replaceAll('-', '')}`
  const ask = async (sql: string, path = '/') => {
    const reply = await fetch(new URL(path, url), { method: 'POST', body: sql })
    const text = await reply.text()
    assert.equal(reply.status, 200, text)
    return text.trim()
  }
  t.after(() => ask(`DROP DATABASE IF EXISTS ${database} SYNC`))
  const migrate = (args: readonly string[] = [], at = url) =>
    new Millrace(['migrate', ...args], {
      env: { MILLRACE_CLICKHOUSE__URL: at, MILLRACE_CLICKHOUSE__DATABASE: database },
    })
  const exists = async () => (await ask(`EXISTS DATABASE ${database}`)) === '1'
  return { database, migrate, exists, ask, askIn: (sql: string) => ask(sql, `/?database=${database}`) }
}

describe('millrace migrate --plan', () => {
  test('prints all that a new server would be told, and tells it nothing', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const { database, migrate, exists, ask, askIn } = ownDatabase(t, url)
    const planned = await migrate(['--plan']).ended
    assert.deepEqual([planned.code, planned.stderr], [0, ''])
    const files = (await readMigrations()).map(({ file }) => file)
    const [head] = planned.stdout.split('\n')
    assert.equal(
      head,
      `-- Database ${database}, which is not there: schema 0 of ${files.length}, ${files.length} to take.`,
    )
    assert.deepEqual(
      [...planned.stdout.matchAll(/^-- (\d\w+\.sql)$/gm)].map(([, file]) => file),
      files,
    )
    assert.equal(await exists(), false)

    // It is the whole: who runs it by hand has nothing left to do.
    const [create, ...rest] = planned.stdout.split(/;$/m).slice(0, -1)
    await ask(create ?? '')
    for (const sql of rest) await askIn(sql)
    const after = await migrate(['--plan']).ended
    assert.deepEqual(
      [after.code, after.stdout],
      [0, `-- Database ${database}: schema ${files.length} of ${files.length}, nothing to do.\n`],
    )
    assert.equal((await migrate().ended).stdout, 'nothing to do: the schema is up to date\n')
  })

  test('prints what is left for a daemon that died half-way, as JSON too', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const { migrate, ask, database, askIn } = ownDatabase(t, url)
    await ask(`CREATE DATABASE ${database}`)
    const { steps } = await planMigration(undefined, { database })
    for (const { statements } of steps.slice(0, 2)) for (const sql of statements) await askIn(sql)
    const left = await migrate(['--plan', '--json']).ended
    const names = left.stdout
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { name: string }).name)
    assert.deepEqual(
      names,
      steps.slice(2).map(({ name }) => name),
    )
    assert.equal(await askIn('SELECT count() FROM migrations'), '2')
  })

  test('makes nothing for the embedded engine either', async (t) => {
    const cwd = await mkdtemp(join(tmpdir(), 'millrace-plan-'))
    t.after(() => rm(cwd, { recursive: true, force: true, maxRetries: 10 }))
    const planned = await new Millrace(['migrate', '--plan'], { cwd }).ended
    assert.equal(planned.code, 0)
    assert.match(
      planned.stdout,
      /^-- Database millrace, which is not there: .*\n\n-- 0001_points.sql\nCREATE DATABASE/,
    )
    assert.equal(existsSync(join(cwd, 'millrace-data')), false)
    const done = await new Millrace(['migrate'], { cwd }).ended
    assert.match(done.stdout, /^applied 0001_points.sql\n/)
    const after = await new Millrace(['migrate', '--plan'], { cwd }).ended
    assert.match(after.stdout, /nothing to do\.\n$/)
  })

  test('refuses in one line a schema that is newer, or was made of another file', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const { database, migrate, askIn } = ownDatabase(t, url)
    await migrate().ended
    await askIn(`INSERT INTO migrations (version, checksum, file) VALUES (1, 'feed', '0001_points.sql')`)
    const edited = await migrate(['--plan']).ended
    assert.deepEqual([edited.code, edited.stdout], [1, ''])
    assert.match(
      edited.stderr,
      /^millrace: Migration 0001_points\.sql was applied to database \w+ with checksum feed, .*\n$/,
    )
    await askIn(`INSERT INTO migrations (version, checksum, file) VALUES (99, 'x', '0099_later.sql')`)
    const newer = await migrate().ended
    assert.equal(newer.code, 1)
    assert.match(
      newer.stderr,
      new RegExp(`^millrace: The schema of database ${database} is at version 99, .*\\n$`),
    )
  })

  test('says with exit code 3 that nobody answers', async () => {
    const away = { MILLRACE_CLICKHOUSE__URL: 'http://127.0.0.1:1' }
    const { code, stderr } = await new Millrace(['migrate', '--plan'], { env: away }).ended
    assert.equal(code, 3)
    assert.match(stderr, /^millrace: .*got no answer from ClickHouse.*\n$/)
  })
})

/** What the tables of a database are, their names and every word of how they were made. */
function tablesOf(database: string): string {
  return `SELECT name, replaceAll(create_table_query, '${database}.', '') AS made FROM system.tables
    WHERE database = '${database}' AND name NOT LIKE '.%' ORDER BY name FORMAT JSONEachRow`
}

describe('millrace migrate', () => {
  test('killed after any statement leaves a schema that the next one completes', async (t) => {
    const url = need(t, 'clickhouse')
    if (url === null) return
    const killed = ownDatabase(t, url)
    const plain = ownDatabase(t, url)
    let left = 0
    let reached = () => {}
    // Between the process and the server; the reply to the statement that `left` counts down to never comes.
    const between = createServer(async (request, reply) => {
      const parts: Buffer[] = []
      for await (const part of request) parts.push(part as Buffer)
      const body = Buffer.concat(parts)
      const answer = await fetch(new URL(request.url ?? '/', url), { method: 'POST', body })
      const text = await answer.text()
      if (/^\s*(CREATE|ALTER|INSERT)/.test(body.toString())) left -= 1
      if (left === 0) return reached()
      const code = answer.headers.get('x-clickhouse-exception-code')
      reply.writeHead(answer.status, code === null ? {} : { 'x-clickhouse-exception-code': code }).end(text)
    })
    between.listen(0, '127.0.0.1')
    await once(between, 'listening')
    t.after(() => {
      between.closeAllConnections()
      between.close()
    })
    const address = `http://127.0.0.1:${(between.address() as AddressInfo).port}`
    for (const statements of [1, 3, 8, 12, 14]) {
      left = statements
      const statement = new Promise<void>((resolve) => {
        reached = resolve
      })
      const process = killed.migrate([], address)
      const early = process.ended.then(({ stderr }) => assert.fail(`ended by itself: ${stderr}`))
      early.catch(() => {})
      await Promise.race([statement, early])
      await process.kill()
    }
    assert.equal((await killed.migrate().ended).code, 0)
    await plain.migrate().ended
    assert.equal(await killed.ask(tablesOf(killed.database)), await plain.ask(tablesOf(plain.database)))
  })
})
