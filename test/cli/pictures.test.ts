import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, rm, utimes } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { FolderStore } from '../../src/store/folder.ts'
import { ChdbEngine } from '../../src/timeseries/chdb.ts'
import { Millrace } from '../daemon/process.ts'
import { DAY_MS, jobRows, never, startSink } from '../timeseries/support.ts'

const META = { contentType: 'image/jpeg', cacheControl: 'no-store', metadata: {} }
const keyOf = (name: string) => {
  const sha256 = createHash('sha256').update(name).digest('hex')
  return `pictures/${sha256.slice(0, 2)}/${sha256}/full.jpg`
}

/** The data folder of an embedded daemon that has ended, with a row for each of `named` and an object for each of `stored`. */
async function dataOf(t: TestContext, named: readonly string[], stored: readonly string[]) {
  const cwd = await mkdtemp(join(tmpdir(), 'millrace-pictures-'))
  t.after(() => rm(cwd, { recursive: true, force: true, maxRetries: 10 }))
  const folder = join(cwd, 'millrace-data/store')
  const store = new FolderStore({ folder })
  const old = new Date(Date.now() - 30 * DAY_MS)
  for (const name of stored) {
    await store.put(keyOf(name), Buffer.from('12345'), META)
    await utimes(join(folder, keyOf(name)), old, old)
  }
  const engine = new ChdbEngine({ path: join(cwd, 'millrace-data/clickhouse'), database: 'millrace' })
  t.after(() => engine.close())
  await engine.open()
  const { sink } = await startSink(t, engine)
  const picture = {
    table: 'pictures',
    subject: 'avatar',
    variant: 'full',
    sourceUrl: '',
    thumbhash: '',
  } as const
  const size = { width: 8, height: 8, bytes: 5 }
  await Promise.all(
    named.map((name) =>
      sink.write(jobRows(name, [{ ...picture, ...size, key: keyOf(name), sha256: 'aa' }]), never),
    ),
  )
  await sink.stop()
  return {
    cwd,
    store,
    engine,
    run: (...args: string[]) => new Millrace(['pictures', ...args], { cwd }).ended,
  }
}

test('verify names what is missing, sweep deletes what nobody names, and each says how it ended', async (t) => {
  const { run, store, engine } = await dataOf(t, ['a', 'b', 'c', 'gone'], ['a', 'b', 'c', 'old', 'young'])
  const young = keyOf('young')
  await store.delete(young)
  await store.put(young, Buffer.from('12345'), META)

  // The engine that this process has open is a daemon's, as far as the command can see.
  const busy = await run('verify')
  assert.equal(busy.code, 1)
  assert.match(
    busy.stderr,
    new RegExp(`^millrace: Another process \\(pid ${process.pid}\\) uses the folder .*Stop it`, 'm'),
  )
  await engine.close()

  const verified = await run('verify')
  assert.equal(verified.code, 1, verified.stderr)
  assert.equal(
    verified.stdout,
    `${keyOf('gone')} is not in the store (instagram creator-gone avatar full)\n` +
      '4 pictures named by rows, 3 of them in the store; 1 missing: ' +
      'new jobs for these creators store them again (docs/guides/pictures.md)\n',
  )
  const json = await run('verify', '--json')
  assert.deepEqual(JSON.parse(json.stdout), {
    status: 'missing',
    key: keyOf('gone'),
    platform: 'instagram',
    creator_id: 'creator-gone',
    subject: 'avatar',
    variant: 'full',
    bytes: 5,
    why: 'is not in the store',
  })
  const kept =
    '3 kept because rows name them, 1 kept because they are younger than 7d, though no row names them yet'
  const dry = await run('sweep', '--dry-run')
  assert.equal(dry.code, 0, dry.stderr)
  assert.match(
    dry.stdout,
    new RegExp(
      `^${keyOf('old')} 5 bytes, stored 20.*Z\n1 objects \\(5 bytes\\) would be deleted, ${kept}\n$`,
    ),
  )
  assert.ok((await store.head(keyOf('old'))) !== null)
  const wet = await run('sweep', '--json')
  assert.equal(wet.code, 0, wet.stderr)
  const { status, key } = JSON.parse(wet.stdout) as { status: string; key: string }
  assert.deepEqual([status, key], ['deleted', keyOf('old')])
  assert.match(wet.stderr, new RegExp(`^1 objects \\(5 bytes\\) deleted, ${kept}\n$`))
  assert.equal(await store.head(keyOf('old')), null)
  assert.ok((await store.head(keyOf('young'))) !== null)
})

test('in a folder where no daemon has worked, both say so and create nothing', async (t) => {
  const cwd = await mkdtemp(join(tmpdir(), 'millrace-pictures-'))
  t.after(() => rm(cwd, { recursive: true, force: true, maxRetries: 10 }))
  for (const command of ['verify', 'sweep']) {
    const { code, stdout, stderr } = await new Millrace(['pictures', command], { cwd }).ended
    assert.equal(code, 2, stderr)
    assert.match(
      stderr,
      /there is no database in .*millrace-data\/clickhouse; expected a folder that a daemon/,
    )
    assert.equal(stdout, '')
  }
  assert.deepEqual(await readdir(cwd), [])
})

test('a sweep that would take most of the store, or nearly no grace, is refused', async (t) => {
  const { run, store, engine } = await dataOf(t, ['a'], ['a', 'b', 'c', 'd'])
  await engine.close()
  const most = await run('sweep')
  assert.equal(most.code, 1)
  assert.match(
    most.stderr,
    /^millrace: sweep: 3 of 4 objects would go, more than the share of 0\.5 .* nothing was deleted/,
  )
  assert.doesNotMatch(most.stderr, /\n\s+at /)
  assert.ok((await store.head(keyOf('d'))) !== null)
  for (const grace of ['5m', 'soon']) {
    const short = await run('sweep', '--grace', grace)
    assert.equal(short.code, 2)
    assert.match(
      short.stderr,
      /^millrace: pictures sweep: --grace: found .* expected a duration of at least 1h/,
    )
  }
  const meant = await run('sweep', '--max-share', '1')
  assert.equal(meant.code, 0, meant.stderr)
  assert.equal(await store.head(keyOf('d')), null)
})

test('a database that is none of ours is told, and nothing is taken for missing', async (t) => {
  const cwd = await mkdtemp(join(tmpdir(), 'millrace-pictures-'))
  t.after(() => rm(cwd, { recursive: true, force: true, maxRetries: 10 }))
  const engine = new ChdbEngine({ path: join(cwd, 'millrace-data/clickhouse'), database: 'millrace' })
  await engine.open()
  await engine.close()
  const { code, stdout, stderr } = await new Millrace(['pictures', 'verify'], { cwd }).ended
  assert.equal(code, 1)
  assert.equal(stdout, '')
  assert.match(
    stderr,
    /^millrace: database millrace has no table of pictures: is it the one that the daemon writes to\?\n$/,
  )
})
