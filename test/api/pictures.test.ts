import assert from 'node:assert/strict'
import { createHash, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { CreateBucketCommand, DeleteBucketCommand, S3Client } from '@aws-sdk/client-s3'
import sharp from 'sharp'
import type { PictureRow } from '../../src/job/row.ts'
import { S3Store } from '../../src/store/s3.ts'
import { need } from '../need.ts'
import { openFilled, startApi } from './support.ts'

test('the addresses of a creator’s pictures open them, for who has the whole address alone', async (t) => {
  const clickhouse = need(t, 'clickhouse')
  const s3 = need(t, 's3')
  if (clickhouse === null || s3 === null) return
  const { origin: endpoint, username, password } = new URL(s3)
  const region = 'us-east-1'
  const bucket = `api-${randomUUID()}`
  const credentials = { accessKeyId: username, secretAccessKey: password }
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  const store = new S3Store({ bucket, region, endpoint, credentials })

  const solid = { create: { width: 150, height: 100, channels: 3, background: '#4a6' } } as const
  const picture = await sharp(solid).jpeg().toBuffer()
  const sha256 = createHash('sha256').update(picture).digest('hex')
  // Characters that an address could stumble over are among those that keys may have.
  const keys = [`pictures/${sha256.slice(0, 2)}/${sha256}/thumb.jpg`, 'pictures/a+b=c@d,e~f/full.jpg']
  t.after(async () => {
    const cleaner = new S3Store({ bucket, region, endpoint, credentials })
    for (const key of keys) await cleaner.delete(key)
    await cleaner.stop()
    await client.send(new DeleteBucketCommand({ Bucket: bucket }))
    client.destroy()
  })
  for (const key of keys)
    await store.put(key, picture, { contentType: 'image/jpeg', cacheControl: 'no-store', metadata: {} })
  const rows = keys.map(
    (key, index): PictureRow => ({
      ...({
        table: 'pictures',
        subject: 'avatar',
        variant: `v${index}`,
        key,
        sha256,
        thumbhash: '',
      } as const),
      ...{ sourceUrl: 'https://example.com/p.jpg', width: 150, height: 100, bytes: picture.length },
    }),
  )
  const { engine } = await openFilled(t, clickhouse, [{ creatorId: 'c', followers: 1, rows }])
  const { json } = await startApi(t, engine, {}, store)

  type Answer = { pictures: { key: string; url: string; bytes: number }[] }
  const { pictures } = await json<Answer>('/v1/creators/instagram/c')
  assert.deepEqual(pictures.map(({ key }) => key).sort(), [...keys].sort())
  for (const { url, bytes } of pictures) {
    const reply = await fetch(url)
    assert.deepEqual([reply.status, reply.headers.get('content-type')], [200, 'image/jpeg'])
    const body = Buffer.from(await reply.arrayBuffer())
    assert.deepEqual([body.length, body.equals(picture)], [bytes, true])
    assert.equal((await sharp(body).metadata()).width, 150)
    const unsigned = new URL(url)
    unsigned.search = ''
    const other = new URL(url)
    other.pathname = other.pathname.replace(/\/[^/]+$/, '/other.jpg')
    for (const wrong of [unsigned, other]) {
      const refused = await fetch(wrong)
      assert.equal(refused.status, 403, wrong.href)
      await refused.text()
    }
  }
})
