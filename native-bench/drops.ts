import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JobRows } from '../src/job/row.ts'
import { ChdbEngine } from '../src/timeseries/chdb.ts'
import { ClickHouseEngine } from '../src/timeseries/clickhouse.ts'
import { encode } from '../src/timeseries/encode.ts'
import { type Engine, execute, select } from '../src/timeseries/engine.ts'
import { migrate } from '../src/timeseries/migrate.ts'
import { COLUMNS } from '../src/timeseries/tables.ts'

// What it costs to compare snapshots with those before: batches of creators inserted as the daemon does, into `creators_in`, beside
// the same ones inserted into `creators`, where nothing is compared. Sizes alternate with tables, so that what else the machine does
// meets all alike.
//
//   node native-bench/drops.ts [http://127.0.0.1:8123] [creators]      default: the embedded engine, 1,000,000 creators

const ROUNDS = 5
const SIZES = [10, 100, 1_000, 10_000]

const url = process.argv.slice(2).find((arg) => arg.startsWith('http'))
const creators = Number(process.argv.slice(2).find((arg) => /^\d+$/.test(arg)) ?? 1_000_000)
const folder = await mkdtemp(join(tmpdir(), 'millrace-bench-'))
const database = `bench_${randomUUID().replaceAll('-', '')}`
const engine: Engine =
  url === undefined ? new ChdbEngine({ path: folder, database }) : new ClickHouseEngine({ url, database })
const startMs = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 86_400_000

/** Snapshots of as many creators, spread over all; the later the round, the newer, and the fewer followers. */
function batchOf(size: number, round: number): string {
  return Array.from({ length: size }, (_, n) => {
    const creator = (n * 7_919 + round * 104_729) % creators
    const facts = {
      handle: `c${creator}`,
      verified: false,
      gone: false,
      flags: [],
      email: '',
      pictureUrl: '',
    }
    const biography =
      'Some words about what one does, with a hundred letters or so, as most of them have it there. '
    const job: JobRows = {
      ...{ jobId: `millrace.jobs-${n % 6}-${n}`, platform: 'instagram', creatorId: `creator_${creator}` },
      ...{ tsMs: startMs + round * 60_000, observedAtMs: startMs + round * 60_000 },
      rows: [
        { table: 'points', metric: 'followers', value: 1_000_000 / (1 + (round % 3)) },
        { table: 'creators', name: `Name ${creator}`, biography, ...facts },
      ],
    }
    return encode(job, { rowsMax: 10, bytesMax: 1_000_000 }).find((parcel) => parcel.table === 'creators')!
      .text
  }).join('')
}

interface Measured {
  readonly wallMs: number
  /** Of this process: with the embedded engine that is the engine's too. */
  readonly cpuMs: number
}

async function insert(table: string, text: string): Promise<Measured> {
  const into = `INSERT INTO ${table} (${COLUMNS.creators.join(', ')}) SETTINGS async_insert = 0`
  const startedMs = performance.now()
  const before = process.cpuUsage()
  await execute(engine, `${into} FORMAT JSONCompactEachRow\n${text}`)
  const used = process.cpuUsage(before)
  return { wallMs: performance.now() - startedMs, cpuMs: (used.user + used.system) / 1_000 }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

try {
  await engine.open()
  await migrate(engine)
  // They read everything every minute.
  await execute(engine, 'SYSTEM STOP VIEWS')
  await execute(
    engine,
    `INSERT INTO creators (platform, creator_id, name, handle, biography, ts, observed_at, job_id, followers)
    SELECT 'instagram', concat('creator_', toString(number)), concat('Name ', toString(number)), toString(number),
      'Some words about what one does, with a hundred letters or so, as most of them have it there. ',
      fromUnixTimestamp64Milli(${startMs - 86_400_000}, 'UTC'), toDateTime(${startMs / 1000}), 'j', 1000000
    FROM numbers(${creators})`,
  )
  const measured = new Map<string, Measured[]>()
  let round = 0
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    for (const size of SIZES) {
      for (const table of turn % 2 === 0 ? ['creators', 'creators_in'] : ['creators_in', 'creators']) {
        round += 1
        const key = `${size} ${table}`
        measured.set(key, [...(measured.get(key) ?? []), await insert(table, batchOf(size, round))])
      }
    }
  }
  const [flagged] = await select<{ n: number | string }>(
    engine,
    `SELECT countIf(has(flags, 'suspicious_drop')) AS n FROM creators FINAL`,
  )
  console.log(
    `engine ${engine.name}; ${creators.toLocaleString('en')} creators, ${flagged?.n} flagged; medians of ${ROUNDS} rounds`,
  )
  for (const size of SIZES) {
    const line = ['creators', 'creators_in'].map((table) => {
      const all = measured.get(`${size} ${table}`) ?? []
      const [wallMs, cpuMs] = [median(all.map((one) => one.wallMs)), median(all.map((one) => one.cpuMs))]
      return `${table} ${wallMs.toFixed(0)} ms, ${cpuMs.toFixed(0)} ms CPU (${(cpuMs / size).toFixed(3)} a job)`
    })
    console.log(`${size.toLocaleString('en').padStart(6)} jobs a batch   ${line.join('   ')}`)
  }
} finally {
  await execute(engine, 'SYSTEM START VIEWS').catch(() => undefined)
  await execute(engine, `DROP DATABASE IF EXISTS ${database} SYNC`)
  await engine.close()
  await rm(folder, { recursive: true, force: true, maxRetries: 10 })
}
