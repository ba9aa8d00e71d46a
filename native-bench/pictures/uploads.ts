/**
 * Uploads of 180 KB to a real S3-compatible server in a process of its own (as the tests': found, or built): P50 and P99 of a
 * put, with as many in flight as the store allows by default (8), and with 50.
 * `node native-bench/pictures/uploads.ts [--json] [--uploads 2000] [--s3 http://key:secret@host:port]`; 10,000 take three minutes or so.
 */
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { S3Store } from '../../src/store/s3.ts'
import { machine, openBucket, quantile, report, rounded, spend } from './bench.ts'

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    uploads: { type: 'string', default: '2000' },
    s3: { type: 'string' },
  },
})
const uploads = Number(values.uploads)
const bucket = await openBucket(values.s3)
const body = randomBytes(180_000)
const meta = { contentType: 'image/jpeg', cacheControl: 'public, immutable', metadata: { width: '800' } }
const rows: object[] = []
try {
  for (const inFlight of [8, 50]) {
    const store = new S3Store({ ...bucket.where, requestsInFlightMax: inFlight })
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
  await bucket.stop()
}
report(values.json, { machine: machine(), bytes: body.length, rows })
