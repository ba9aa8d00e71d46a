import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, type TestContext, test } from 'node:test'
import { MillraceError } from '../../src/job/errors.ts'
import type { ObjectMeta, ObjectStore } from '../../src/job/store.ts'
import { metadataOf } from '../../src/store/key.ts'

export interface StoreUnderTest {
  /** A store of its own, empty, or null when the test was skipped. Whatever it needs is cleaned up through `t.after`. */
  open(t: TestContext): Promise<ObjectStore | null>
  /** False for stores whose `presign` answers null. */
  readonly presigns: boolean
}

const JPEG: ObjectMeta = {
  contentType: 'image/jpeg',
  cacheControl: 'public, max-age=31536000, immutable',
  metadata: { width: '800', thumbhash: '1QcSHQRnh493V4dIh4eXh1h4kJUI' },
}

/** What every object store must do, whatever it is made of. */
export function storeContract(name: string, under: StoreUnderTest): void {
  const contractTest = (behaviour: string, body: (store: ObjectStore, t: TestContext) => Promise<void>) =>
    test(behaviour, async (t) => {
      const store = await under.open(t)
      if (store !== null) await body(store, t)
    })

  describe(`${name} as an object store`, () => {
    contractTest('gives back the bytes that were put, and what is known of them', async (store) => {
      const body = randomBytes(70_000)
      const before = Date.now()
      assert.equal(await store.put('pictures/ab/abcdef/full.jpg', body, JPEG), 'written')
      assert.deepEqual(await store.get('pictures/ab/abcdef/full.jpg'), body)
      const head = await store.head('pictures/ab/abcdef/full.jpg')
      assert.ok(head !== null)
      assert.equal(head.key, 'pictures/ab/abcdef/full.jpg')
      assert.equal(head.bytes, 70_000)
      assert.ok(
        head.modifiedAtMs > before - 5_000 && head.modifiedAtMs < Date.now() + 5_000,
        String(head.modifiedAtMs),
      )
      assert.deepEqual(metadataOf(head), JPEG.metadata)
    })

    contractTest('keeps the first object of a key and says so', async (store) => {
      assert.equal(await store.put('k/one', Buffer.from('first'), JPEG), 'written')
      assert.equal(
        await store.put('k/one', Buffer.from('second'), { ...JPEG, metadata: { width: '1' } }),
        'present',
      )
      assert.equal(String(await store.get('k/one')), 'first')
      assert.equal(metadataOf((await store.head('k/one'))!).width, '800')
    })

    contractTest(
      'lets exactly one of many racing writers write, and shows only whole objects',
      async (store) => {
        for (let round = 0; round < 3; round++) {
          const key = `race/${round}`
          const bodies = Array.from({ length: 20 }, (_, index) => Buffer.alloc(40_000, index))
          const writers = bodies.map((body) => store.put(key, body, JPEG))
          const seen: Buffer[] = []
          const readers = Array.from({ length: 20 }, async () => {
            const body = await store.get(key)
            if (body !== null) seen.push(body)
          })
          const outcomes = await Promise.all(writers)
          await Promise.all(readers)
          assert.equal(outcomes.filter((outcome) => outcome === 'written').length, 1)
          for (const body of [...seen, (await store.get(key))!]) {
            assert.ok(bodies.some((candidate) => candidate.equals(body)))
          }
        }
      },
    )

    contractTest('leaves the body with its owner', async (store) => {
      const body = new Uint8Array([1, 2, 3])
      await store.put('k/mine', body, JPEG)
      assert.deepEqual(body, new Uint8Array([1, 2, 3]))
    })

    contractTest('stores an object without bytes', async (store) => {
      assert.equal(await store.put('k/empty', new Uint8Array(0), JPEG), 'written')
      assert.equal((await store.get('k/empty'))?.length, 0)
      assert.equal((await store.head('k/empty'))?.bytes, 0)
    })

    contractTest('answers null for what is not there', async (store) => {
      assert.equal(await store.head('no/such'), null)
      assert.equal(await store.get('no/such'), null)
    })

    contractTest('deletes, and does not mind deleting what is gone', async (store) => {
      await store.put('k/gone', Buffer.from('x'), JPEG)
      await store.delete('k/gone')
      assert.equal(await store.get('k/gone'), null)
      assert.equal(await store.head('k/gone'), null)
      await store.delete('k/gone')
      assert.equal(await store.put('k/gone', Buffer.from('y'), { ...JPEG, metadata: {} }), 'written')
      assert.deepEqual(metadataOf((await store.head('k/gone'))!), {})
    })

    contractTest('lists what begins with a prefix, in the order of the keys', async (store) => {
      const keys = ['a.b/1', 'a/1', 'a/2', 'a/b/3', 'ab/4', 'b/5', 'a-b']
      for (const key of keys) await store.put(key, Buffer.from(key), JPEG)
      const listed = async (prefix: string) => {
        const found: string[] = []
        for await (const info of store.list(prefix)) {
          assert.equal(info.bytes, info.key.length)
          found.push(info.key)
        }
        return found
      }
      assert.deepEqual(await listed(''), ['a-b', 'a.b/1', 'a/1', 'a/2', 'a/b/3', 'ab/4', 'b/5'])
      assert.deepEqual(await listed('a/'), ['a/1', 'a/2', 'a/b/3'])
      assert.deepEqual(await listed('a'), ['a-b', 'a.b/1', 'a/1', 'a/2', 'a/b/3', 'ab/4'])
      assert.deepEqual(await listed('zz'), [])
    })

    contractTest(
      'refuses keys that could leave its place or that not every store can hold',
      async (store) => {
        const bad = [
          '',
          '/etc/passwd',
          '../up',
          'a/../../up',
          'a//b',
          'a/',
          './a',
          'a/.',
          '.millrace/meta/a',
          'a\\b',
          'a\0b',
          'ä',
          'a b',
        ]
        for (const key of [...bad, 'x'.repeat(201), `${'y/'.repeat(600)}y`]) {
          for (const call of [
            () => store.put(key, Buffer.from('x'), JPEG),
            () => store.head(key),
            () => store.get(key),
            () => store.delete(key),
          ]) {
            await assert.rejects(
              call,
              (error) => error instanceof MillraceError && error.code === 'STORE_KEY_INVALID',
              key,
            )
          }
        }
      },
    )

    contractTest('refuses metadata that not every store can keep', async (store) => {
      for (const metadata of [
        { Width: '1' },
        { a: 'ä' },
        { a: 'line\nbreak' },
        { a: ' edge' },
        { a: 'x'.repeat(3000) },
      ]) {
        await assert.rejects(
          () =>
            store.put('k/meta', Buffer.from('x'), {
              ...JPEG,
              metadata: metadata as unknown as Record<string, string>,
            }),
          (error) => error instanceof MillraceError && error.code === 'STORE_META_INVALID',
        )
      }
      assert.equal(await store.get('k/meta'), null)
    })

    contractTest('stops for an aborted signal with its reason, and has written nothing', async (store) => {
      const reason = new Error('drain')
      const signal = AbortSignal.abort(reason)
      const same = (error: unknown) => error === reason
      await assert.rejects(() => store.put('k/aborted', Buffer.from('x'), JPEG, signal), same)
      await assert.rejects(() => store.head('k/aborted', signal), same)
      await assert.rejects(() => store.delete('k/aborted', signal), same)
      assert.equal(await store.get('k/aborted'), null)
    })

    contractTest('proves by a check that it can be written to, and leaves nothing behind', async (store) => {
      await store.check()
      for await (const info of store.list('')) assert.fail(`left ${info.key}`)
    })

    contractTest(
      'signs an address that opens the object and nothing else, or says it cannot',
      async (store) => {
        await store.put('k/shared', Buffer.from('shown'), JPEG)
        await store.put('k/secret', Buffer.from('hidden'), JPEG)
        const address = await store.presign('k/shared', 60)
        if (!under.presigns) {
          assert.equal(address, null)
          return
        }
        const reply = await fetch(address!)
        assert.equal(reply.status, 200)
        assert.equal(reply.headers.get('content-type'), 'image/jpeg')
        assert.equal(reply.headers.get('cache-control'), JPEG.cacheControl)
        assert.equal(await reply.text(), 'shown')
        const tampered = await fetch(address!.replace('k/shared', 'k/secret'))
        assert.equal(tampered.status, 403)
        await tampered.body?.cancel()
      },
    )

    contractTest('stops twice without complaint', async (store) => {
      await store.stop()
      await store.stop()
    })
  })
}
