import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { CreateBucketCommand, DeleteBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { MillraceError, ServiceAwayError } from '../../src/job/errors.ts'
import { S3Store, type S3StoreOptions } from '../../src/store/s3.ts'
import { storeContract } from '../contract/store.ts'
import { need } from '../need.ts'
import { until } from '../until.ts'

/** Longer than a machine stands still: a write that was done but not heard of is sent again, and finds its object there. */
const PATIENT = { connectTimeoutMs: 60_000, timeoutMs: 60_000 }
const META = { contentType: 'image/jpeg', cacheControl: 'no-store', metadata: {} }

/** What the address of the test service says, as options; no bucket yet. */
function optionsFrom(
  address: string,
): Omit<S3StoreOptions, 'bucket'> & Required<Pick<S3StoreOptions, 'credentials'>> {
  const url = new URL(address)
  return {
    endpoint: url.origin,
    region: 'us-east-1',
    credentials: {
      accessKeyId: decodeURIComponent(url.username),
      secretAccessKey: decodeURIComponent(url.password),
    },
  }
}

async function openBucket(t: TestContext, more: Partial<S3StoreOptions> = {}): Promise<S3Store | null> {
  const address = need(t, 's3')
  if (address === null) return null
  const base = optionsFrom(address)
  const bucket = `millrace-test-${randomBytes(6).toString('hex')}`
  const { endpoint = '', region, credentials } = base
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  t.after(async () => {
    const cleaner = new S3Store({ ...base, bucket, ...PATIENT })
    for await (const { key } of cleaner.list('')) await cleaner.delete(key)
    await client.send(new DeleteBucketCommand({ Bucket: bucket }))
    client.destroy()
    await cleaner.stop()
  })
  const store = new S3Store({ ...base, bucket, ...PATIENT, ...more })
  t.after(() => store.stop())
  return store
}

/** A server that is not S3, for answers that a real one will not give on demand. */
async function openServer(
  t: TestContext,
  listener: RequestListener,
  more: Partial<S3StoreOptions> = {},
): Promise<S3Store> {
  const server = createServer({ keepAliveTimeout: 600_000 }, listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const store = new S3Store({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    region: 'us-east-1',
    bucket: 'bucket',
    credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
    attemptsMax: 1,
    ...PATIENT,
    ...more,
  })
  t.after(async () => {
    await store.stop()
    server.closeAllConnections()
    server.close()
  })
  return store
}

storeContract('S3Store', { presigns: true, open: (t) => openBucket(t) })

test('lists more than one page', async (t) => {
  const store = await openBucket(t, { listPageKeys: 3 })
  if (store === null) return
  const keys = Array.from({ length: 10 }, (_, index) => `many/${String(index).padStart(4, '0')}`)
  await Promise.all(keys.map((key) => store.put(key, Buffer.from('x'), META)))
  const listed: string[] = []
  for await (const { key } of store.list('many/')) listed.push(key)
  assert.deepEqual(listed, keys)
})

test('an unknown key or a wrong secret is a clear error about rights, not a store that is away', async (t) => {
  for (const credentials of [
    { accessKeyId: 'nobody', secretAccessKey: 'testsecret12' },
    { accessKeyId: 'testkey', secretAccessKey: 'wrong-secret' },
  ]) {
    const store = await openBucket(t, { credentials })
    if (store === null) return
    await assert.rejects(
      () => store.check(),
      (error) =>
        error instanceof MillraceError &&
        error.code === 'STORE_FORBIDDEN' &&
        !error.message.includes('wrong-secret'),
    )
  }
})

test('a missing bucket is a clear error', async (t) => {
  const store = await openBucket(t, { bucket: 'millrace-test-no-such' })
  if (store === null) return
  await assert.rejects(
    () => store.check(),
    (error) => error instanceof MillraceError && error.code === 'STORE_BUCKET_MISSING',
  )
})

test('a store that does not answer is away after its time-out', async (t) => {
  const store = await openServer(t, () => {}, { timeoutMs: 150 })
  await assert.rejects(() => store.put('k', Buffer.from('x'), META), ServiceAwayError)
})

test('an answer that stalls half-way is away after its time-out', async (t) => {
  const store = await openServer(
    t,
    (_request, response) => response.writeHead(200, { 'content-length': '10' }).write('half'),
    {
      timeoutMs: 150,
    },
  )
  await assert.rejects(() => store.get('k'), ServiceAwayError)
})

test('a store that refuses connections, fails or asks for patience is away', async (t) => {
  const gone = new S3Store({
    endpoint: 'http://127.0.0.1:1',
    region: 'us-east-1',
    bucket: 'bucket',
    credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
    attemptsMax: 1,
  })
  await assert.rejects(() => gone.check(), ServiceAwayError)
  await gone.stop()
  for (const status of [500, 503, 429]) {
    const store = await openServer(t, (_request, response) => response.writeHead(status).end())
    await assert.rejects(() => store.put('k', Buffer.from('x'), META), ServiceAwayError, String(status))
  }
})

test('an abort ends a request under way with its reason', async (t) => {
  const arrived = Promise.withResolvers<void>()
  const store = await openServer(t, () => arrived.resolve())
  const control = new AbortController()
  const put = store.put('k', Buffer.from('x'), META, control.signal)
  await arrived.promise
  const reason = new Error('drain')
  control.abort(reason)
  await assert.rejects(put, (error) => error === reason)
})

test('no more requests are in flight than allowed, and a waiting one can be aborted', async (t) => {
  let inFlight = 0
  let most = 0
  const answers: (() => void)[] = []
  const store = await openServer(
    t,
    (request, response) => {
      most = Math.max(most, ++inFlight)
      answers.push(() => {
        inFlight--
        response.writeHead(200).end()
      })
      request.resume()
    },
    { requestsInFlightMax: 3 },
  )
  const control = new AbortController()
  const puts = Array.from({ length: 9 }, (_, index) => store.put(`k/${index}`, Buffer.from('x'), META))
  const waiting = store.put('k/waiting', Buffer.from('x'), META, control.signal)
  control.abort(new Error('not any more'))
  await assert.rejects(waiting, /not any more/)
  await until(() => inFlight === 3)
  let answered = 0
  const pump = setInterval(() => {
    for (const answer of answers.splice(0)) {
      answered++
      answer()
    }
  }, 5)
  t.after(() => clearInterval(pump))
  await Promise.all(puts)
  assert.equal(answered, 9)
  assert.equal(most, 3)
})
