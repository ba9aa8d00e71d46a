/**
 * Uploads of 180 KB to a real S3-compatible server in a process of its own (as the tests': found, or built): P50 and P99 of a
 * put, with as many in flight as the store allows by default (8), and with 50.
 * `node native-bench/pictures/uploads.ts [--json] [--uploads 2000] [--s3 http://key:secret@host:port]`; 10,000 take three minutes or so.
 */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { S3Store } from '../../src/store/s3.ts'
import { startS3 } from '../../test/services/s3.ts'
import { machine, quantile, report, rounded, spend } from './bench.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    uploads: { type: 'string', default: '2000' },
    s3: { type: 'string' },
  },
})
const uploads = Number(values.uploads)
const server = values.s3 === undefined ? await startS3() : undefined
const { origin, username, password } = new URL(values.s3 ?? server!.address)
const credentials = {
  accessKeyId: decodeURIComponent(username),
  secretAccessKey: decodeURIComponent(password),
}
const bucket = `millrace-bench-${randomBytes(6).toString('hex')}`
const where = { endpoint: origin, region: 'us-east-1', credentials }
const client = new S3Client({ ...where, forcePathStyle: true })
await client.send(new CreateBucketCommand({ Bucket: bucket }))
client.destroy()

const body = randomBytes(180_000)
const meta = { contentType: 'image/jpeg', cacheControl: 'public, immutable', metadata: { width: '800' } }
const rows: object[] = []
try {
  for (const inFlight of [8, 50]) {
    const store = new S3Store({ ...where, bucket, requestsInFlightMax: inFlight })
    const tookMs: number[] = []
    const put = async () => {
      const startMs = performance.now()
      const name = randomBytes(16).toString('hex')
      await store.put(`${inFlight}/${name.slice(0, 2)}/${name}`, body, meta)
      tookMs.push(performance.now() - startMs)
    }
    await spend(inFlight, (begun) => begun < 100, put)
    tookMs.length = 0
    const { done, wallMs, cpuMs, loopP99Ms } = await spend(inFlight, (begun) => begun < uploads, put)
    await store.stop()
    rows.push({
      in_flight: inFlight,
      uploads: done,
      per_second: rounded((done * 1000) / wallMs),
      p50_ms: rounded(quantile(tookMs, 0.5)),
      p99_ms: rounded(quantile(tookMs, 0.99)),
      max_ms: rounded(Math.max(...tookMs)),
      cpu_ms_each: rounded(cpuMs / done, 2),
      loop_p99_ms: rounded(loopP99Ms),
    })
  }
} finally {
  await server?.stop()
}
report(values.json, { machine: machine(), bytes: body.length, rows })
