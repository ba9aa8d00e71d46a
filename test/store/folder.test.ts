import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { MillraceError } from '../../src/job/errors.ts'
import { FolderStore } from '../../src/store/folder.ts'
import { metadataOf } from '../../src/store/key.ts'
import { storeContract } from '../contract/store.ts'

async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-store-'))
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  return folder
}

const META = { contentType: 'image/jpeg', cacheControl: 'no-store', metadata: { width: '3' } }

storeContract('FolderStore', {
  presigns: false,
  open: async (t) => new FolderStore({ folder: join(await temporaryFolder(t), 'objects') }),
})

test('an object is a plain file at its key', async (t) => {
  const folder = await temporaryFolder(t)
  await new FolderStore({ folder }).put('pictures/ab/cd/full.jpg', Buffer.from('jpeg'), META)
  assert.equal(await readFile(join(folder, 'pictures/ab/cd/full.jpg'), 'utf8'), 'jpeg')
  assert.deepEqual(await readdir(join(folder, '.millrace/temporary')), [])
})

test('two stores on one folder see each other', async (t) => {
  const folder = await temporaryFolder(t)
  const [one, two] = [new FolderStore({ folder }), new FolderStore({ folder, flush: true })]
  const outcomes = await Promise.all([
    one.put('k', Buffer.from('1'), META),
    two.put('k', Buffer.from('2'), META),
  ])
  assert.deepEqual(outcomes.toSorted(), ['present', 'written'])
})

test('an object whose note is lost or cut short is still an object, and the next put notes it again', async (t) => {
  const folder = await temporaryFolder(t)
  const store = new FolderStore({ folder })
  await store.put('k/a', Buffer.from('x'), META)
  for (const damage of [
    () => writeFile(join(folder, 'k/.a.meta'), '{"content'),
    () => rm(join(folder, 'k/.a.meta')),
  ]) {
    await damage()
    assert.deepEqual(metadataOf((await store.head('k/a'))!), {})
    assert.equal(await store.put('k/a', Buffer.from('x'), META), 'present')
    assert.deepEqual(metadataOf((await store.head('k/a'))!), META.metadata)
  }
})

test('an object that a power failure cut short counts as absent and is written again', async (t) => {
  const folder = await temporaryFolder(t)
  const store = new FolderStore({ folder })
  await store.put('k/a', Buffer.from('whole'), META)
  await truncate(join(folder, 'k/a'), 2)
  assert.equal(await store.head('k/a'), null)
  assert.equal(await store.put('k/a', Buffer.from('whole'), META), 'written')
  assert.equal(String(await store.get('k/a')), 'whole')
  await truncate(join(folder, 'k/a'), 0)
  await rm(join(folder, 'k/.a.meta'))
  assert.equal(await store.put('k/a', Buffer.from('whole'), META), 'written')
  assert.equal((await store.head('k/a'))?.bytes, 5)
})

test('a check removes what a dead writer left, and not what a neighbour is writing', async (t) => {
  const folder = await temporaryFolder(t)
  const temporary = join(folder, '.millrace/temporary')
  await mkdir(temporary, { recursive: true })
  await writeFile(join(temporary, 'old'), 'x')
  await writeFile(join(temporary, 'young'), 'x')
  const yesterday = new Date(Date.now() - 86_400_000)
  await utimes(join(temporary, 'old'), yesterday, yesterday)
  await new FolderStore({ folder }).check()
  assert.deepEqual(await readdir(temporary), ['young'])
})

test('a folder that cannot be written to is one clear error', async (t) => {
  let folder = '/sys/millrace-store-test'
  if (process.getuid?.() !== 0) {
    // Permissions bind everybody but root; for root a read-only file system has to do.
    folder = await temporaryFolder(t)
    await chmod(folder, 0o500)
  } else if (process.platform !== 'linux') {
    t.skip('needs a read-only file system')
    return
  }
  await assert.rejects(
    () => new FolderStore({ folder }).check(),
    (error) =>
      error instanceof MillraceError && error.code === 'STORE_READ_ONLY' && error.message.includes(folder),
  )
})

test('a file where the folder should be is one clear error', async (t) => {
  const file = join(await temporaryFolder(t), 'file')
  await writeFile(file, 'x')
  await assert.rejects(
    () => new FolderStore({ folder: file }).check(),
    (error) => error instanceof MillraceError && error.code === 'STORE_PATH_TAKEN',
  )
})
