import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { CreateBucketCommand, DeleteBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { S3Store } from '../../src/store/s3.ts'
import { need } from '../need.ts'
import { poll } from '../services/poll.ts'

/** A bucket on the real store; the section of the configuration that names it, and a client of its own. Null without a store. */
export async function openBucket(t: TestContext) {
  const address = need(t, 's3')
  if (address === null) return null
  const { origin, username, password } = new URL(address)
  const credentials = { accessKeyId: username, secretAccessKey: password }
  const bucket = `millrace-${randomBytes(6).toString('hex')}`
  const client = new S3Client({ endpoint: origin, region: 'us-east-1', credentials, forcePathStyle: true })
  const create = () => client.send(new CreateBucketCommand({ Bucket: bucket }))
  // A write that was done but not heard of is sent again, and finds its object there.
  const store = new S3Store({ endpoint: origin, region: 'us-east-1', bucket, credentials, timeoutMs: 60_000 })
  /** While somebody goes on writing into it, too. */
  const remove = () =>
    poll(
      async () => {
        const deleted: Promise<void>[] = []
        for await (const { key } of store.list('')) deleted.push(store.delete(key))
        await Promise.all(deleted)
        await client.send(new DeleteBucketCommand({ Bucket: bucket }))
        return true
      },
      { withinMs: 60_000, what: 'the bucket is deleted' },
    )
  await create()
  t.after(async () => {
    await remove()
    await store.stop()
    client.destroy()
  })
  const section = {
    ...{ kind: 's3' as const, bucket, endpoint: origin },
    ...{ access_key_id: username, secret_access_key: password },
  }
  return { address, section, store, create, remove }
}
