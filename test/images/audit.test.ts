import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { CreateBucketCommand, DeleteBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { type AuditParts, type Fault, sweepPictures, verifyPictures } from '../../src/images/audit.ts'
import { MillraceError } from '../../src/job/errors.ts'
import type { Row } from '../../src/job/row.ts'
import type { ObjectInfo, ObjectStore } from '../../src/job/store.ts'
import { FolderStore } from '../../src/store/folder.ts'
import { S3Store } from '../../src/store/s3.ts'
import { ChdbEngine } from '../../src/timeseries/chdb.ts'
import type { Engine } from '../../src/timeseries/engine.ts'
import { StoredPictureRows } from '../../src/timeseries/picture-rows.ts'
import { need } from '../need.ts'
import { DAY_MS, jobRows, never, openOwnDatabase, START_MS, startSink } from '../timeseries/support.ts'
import { drawn } from './sources.ts'

const META = { contentType: 'image/jpeg', cacheControl: 'no-store', metadata: {} }
const GRACE_MS = 7 * DAY_MS
/** Everything that a test stores is older than the grace period by then. */
const LATER_MS = Date.now() + GRACE_MS + DAY_MS

const KINDS = {
  'a folder and the embedded engine': { store: openFolder, engine: openEmbedded },
  'a bucket and ClickHouse': { store: openBucket, engine: openServer },
}

async function openFolder(t: TestContext): Promise<FolderStore> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-audit-'))
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  return new FolderStore({ folder })
}

async function openBucket(t: TestContext): Promise<S3Store | null> {
  const address = need(t, 's3')
  if (address === null) return null
  const { origin, username, password } = new URL(address)
  const credentials = { accessKeyId: username, secretAccessKey: password }
  const client = new S3Client({ endpoint: origin, region: 'us-east-1', credentials, forcePathStyle: true })
  const bucket = `audit-${randomBytes(6).toString('hex')}`
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  // A write that was done but not heard of is sent again, and finds its object there.
  const store = new S3Store({ endpoint: origin, region: 'us-east-1', bucket, credentials, timeoutMs: 60_000 })
  t.after(async () => {
    for await (const { key } of store.list('')) await store.delete(key)
    await client.send(new DeleteBucketCommand({ Bucket: bucket }))
    await store.stop()
    client.destroy()
  })
  return store
}

async function openEmbedded(t: TestContext): Promise<Engine> {
  const path = await mkdtemp(join(tmpdir(), 'millrace-audit-chdb-'))
  const engine = new ChdbEngine({ path, database: 'millrace' })
  await engine.open()
  t.after(async () => {
    await engine.close()
    await rm(path, { recursive: true, force: true, maxRetries: 10 })
  })
  return engine
}

async function openServer(t: TestContext): Promise<Engine | null> {
  const url = need(t, 'clickhouse')
  return url === null ? null : await openOwnDatabase(t, url)
}

const keyOf = (name: string, variant = 'full') => {
  const sha256 = createHash('sha256').update(name).digest('hex')
  return { sha256, key: `pictures/${sha256.slice(0, 2)}/${sha256}/${variant}.jpg` }
}

/** A picture row of a creator; `bytes` as its object should have. */
function pictureRow(name: string, bytes: number, subject = 'avatar'): Row {
  const { sha256, key } = keyOf(name)
  return {
    ...{ table: 'pictures', subject, variant: 'full', key, sha256, sourceUrl: 'https://p.example/', bytes },
    ...{ width: 8, height: 8, thumbhash: 'zz' },
  }
}

async function faultsOf(parts: AuditParts, deep = false) {
  const faults: Fault[] = []
  const take = async (fault: Fault) => void faults.push(fault)
  const tally = await verifyPictures(parts, { deep, onFault: take, signal: never })
  return { tally, faults, names: faults.map(({ status, row }) => `${status} ${row.key}`).toSorted() }
}

async function swept(parts: AuditParts, options: Partial<Parameters<typeof sweepPictures>[1]> = {}) {
  const orphans: ObjectInfo[] = []
  const tally = await sweepPictures(parts, {
    ...{ graceMs: GRACE_MS, shareMax: 0.5, dryRun: false, nowMs: LATER_MS, signal: never },
    onOrphan: async (object) => void orphans.push(object),
    ...options,
  })
  return { tally, keys: orphans.map(({ key }) => key).toSorted() }
}

async function keysIn(store: ObjectStore, prefix = ''): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  return keys
}

const NAMES = Array.from({ length: 40 }, (_, index) => `picture ${index}`)

/** Forty pictures, each with its row and its object. */
async function stocked(t: TestContext, kind: (typeof KINDS)[keyof typeof KINDS]) {
  const [store, engine] = [await kind.store(t), await kind.engine(t)]
  if (store === null || engine === null) return null
  const { sink } = await startSink(t, engine)
  const body = await drawn(8, 8).jpeg().toBuffer()
  await Promise.all(
    NAMES.map(async (name) => {
      await store.put(keyOf(name).key, body, META)
      await sink.write(jobRows(name, [pictureRow(name, body.length)]), never)
    }),
  )
  return { store, sink, body, rows: new StoredPictureRows(engine) }
}

for (const [name, kind] of Object.entries(KINDS)) {
  describe(`pictures in ${name}`, () => {
    test('are all there, or named: what is missing, cut short, or something else', async (t) => {
      const parts = await stocked(t, kind)
      if (parts === null) return
      const { store, body } = parts
      const well = await faultsOf(parts, true)
      assert.deepEqual(well.tally, { keys: 40, objects: 40, missing: 0, wrongLength: 0, damaged: 0 })

      const [gone, cut, other, halved] = NAMES.map((each) => keyOf(each).key) as [
        string,
        string,
        string,
        string,
      ]
      for (const key of [gone, cut, other, halved]) await store.delete(key)
      await store.put(cut, body.subarray(0, 100), META)
      await store.put(other, Buffer.alloc(body.length), META)
      const endless = Buffer.from(body)
      endless.fill(0, body.length - 2)
      await store.put(halved, endless, META)

      const ill = await faultsOf(parts)
      assert.deepEqual(ill.names, [`missing ${gone}`, `wrong_length ${cut}`].toSorted())
      const deep = await faultsOf(parts, true)
      assert.deepEqual(
        deep.names,
        [`missing ${gone}`, `wrong_length ${cut}`, `damaged ${other}`, `damaged ${halved}`].toSorted(),
      )
      assert.deepEqual(deep.tally, { keys: 40, objects: 39, missing: 1, wrongLength: 1, damaged: 2 })
      const { row, why } = deep.faults.find(({ status }) => status === 'missing')!
      assert.deepEqual(
        [row.platform, row.creatorId, row.subject],
        ['instagram', `creator-${NAMES[0]}`, 'avatar'],
      )
      assert.equal(why, 'is not in the store')
      assert.match(deep.faults.find((fault) => fault.row.key === halved)!.why, /ends before the end/)
    })

    test('are swept when no row names them and they are old; nothing else is', async (t) => {
      const parts = await stocked(t, kind)
      if (parts === null) return
      const { store, sink, body } = parts
      // A newer picture of the same subject: nobody is shown the old one any more.
      const replaced = keyOf('picture 7').key
      await store.put(keyOf('new face').key, body, META)
      const newer = { tsMs: START_MS + DAY_MS, creatorId: 'creator-picture 7' }
      await sink.write(jobRows('newer', [pictureRow('new face', body.length)], newer), never)
      // One picture in two sizes, of which rows name one.
      const small = keyOf('picture 8', 'small').key
      await store.put(small, body, META)
      const foreign = [
        `pictures/${keyOf('x').key.slice(9, 11)}/notes.txt`,
        'backups/2026.tar',
        'pictures/readme',
      ]
      for (const key of foreign) await store.put(key, body, META)
      const before = await keysIn(store)

      const young = await swept(parts, { nowMs: Date.now() })
      assert.deepEqual(young.tally, { named: 40, young: 2, foreign: 1, orphans: 0, orphanBytes: 0 })
      const dry = await swept(parts, { dryRun: true })
      assert.deepEqual(dry.keys, [replaced, small].toSorted())
      assert.deepEqual(await keysIn(store), before, 'a dry run deletes nothing')

      const wet = await swept(parts)
      assert.deepEqual(wet.keys, dry.keys)
      assert.deepEqual(wet.tally, {
        named: 40,
        young: 0,
        foreign: 1,
        orphans: 2,
        orphanBytes: 2 * body.length,
      })
      assert.deepEqual(
        await keysIn(store),
        before.filter((key) => !dry.keys.includes(key)),
      )
      assert.deepEqual((await swept(parts)).keys, [], 'there is nothing left to do')
      assert.deepEqual((await faultsOf(parts, true)).names, [])
    })
  })
}

test('a sweep is refused when the rows cannot be those of this store', async (t) => {
  const store = await openFolder(t)
  const rows = { count: async () => 0, between: async () => new Map() }
  for (const name of NAMES) await store.put(keyOf(name).key, Buffer.from('x'), META)
  const refusal = (says: RegExp) => (error: unknown) =>
    error instanceof MillraceError && error.code === 'SWEEP_REFUSED' && says.test(error.message)
  await assert.rejects(
    swept({ store, rows }, { shareMax: 1 }),
    refusal(/no picture at all, .* 40 objects; nothing/),
  )
  const few = { ...rows, count: async () => 1 }
  await assert.rejects(
    swept({ store, rows: few }),
    refusal(/40 of 40 objects would go, .* --max-share .*nothing was/),
  )
  assert.equal((await keysIn(store)).length, 40)
  assert.equal((await swept({ store, rows: few }, { dryRun: true })).keys.length, 40, 'looking is free')
  assert.equal((await swept({ store, rows: few }, { shareMax: 1 })).keys.length, 40)
  assert.deepEqual(await keysIn(store), [])
})

test('what a daemon stores meanwhile is neither missing nor an orphan', async (t) => {
  const store = await openFolder(t)
  const body = Buffer.from('x')
  const rowOf = (name: string) => {
    const { key } = keyOf(name)
    return {
      key,
      platform: 'p',
      creatorId: 'c',
      subject: 's',
      variant: 'full',
      width: 1,
      height: 1,
      bytes: 1,
    }
  }
  const asked: string[] = []
  const known = new Map<string, ReturnType<typeof rowOf>>()
  const rows = {
    count: async () => 100_000_000,
    between: async ({ from, below }: { from: string; below: string }) => {
      asked.push(from)
      const found = new Map([...known].filter(([key]) => key >= from && key < below))
      // Right after the question a daemon stores a picture and its row.
      const late = keyOf(`late ${asked.length}`).key
      await store.put(late, body, META)
      known.set(late, rowOf(`late ${asked.length}`))
      return found
    },
  }
  for (const name of NAMES) await store.put(keyOf(name).key, body, META)
  for (const name of NAMES) known.set(keyOf(name).key, rowOf(name))
  assert.deepEqual((await faultsOf({ store, rows })).names, [])
  assert.equal(asked.length, 256)

  // And the other way round: a row that arrives between the listing and the question keeps its object.
  const arriving: ObjectStore = Object.assign(Object.create(store) as ObjectStore, {
    put: store.put.bind(store),
    delete: store.delete.bind(store),
    async *list(prefix: string) {
      for await (const object of store.list(prefix)) {
        yield object
        known.set(object.key, { ...rowOf('arriving'), key: object.key })
      }
    },
  })
  known.clear()
  assert.deepEqual((await swept({ store: arriving, rows })).keys, [])
})

test('an object that a power failure cut short is named, in the folder where it happened', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-audit-cut-'))
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  const store = new FolderStore({ folder })
  const { key } = keyOf('one')
  await store.put(key, Buffer.from('whole'), META)
  const row = {
    key,
    platform: 'p',
    creatorId: 'c',
    subject: 's',
    variant: 'full',
    width: 1,
    height: 1,
    bytes: 5,
  }
  const rows = { count: async () => 1, between: async () => new Map([[key, row]]) }
  await truncate(join(folder, key), 2)
  await mkdir(join(folder, '.millrace/temporary'), { recursive: true })
  await writeFile(join(folder, '.millrace/temporary/half'), 'x')
  const { faults } = await faultsOf({ store, rows })
  assert.deepEqual(
    faults.map(({ status, why }) => [status, why]),
    [['wrong_length', 'has 2 bytes, its row says 5']],
  )
})
