import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type ConfigInput, configSchema } from '../../src/config/schema.ts'
import type { ResultMessage } from '../../src/job/outcome.ts'
import type { OutRecord, Publisher } from '../../src/job/record.ts'
import type { Row } from '../../src/job/row.ts'
import type { ObjectStore } from '../../src/job/store.ts'
import { openApi } from '../../src/parts/api.ts'
import { topicsOf } from '../../src/parts/topics.ts'
import { BUILT_IN } from '../../src/platforms/registry.ts'
import { FolderStore } from '../../src/store/folder.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import type { Engine } from '../../src/timeseries/engine.ts'
import { DAY_MS, jobRows, never, openOwnDatabase, point, silent, startSink } from '../timeseries/support.ts'

export { DAY_MS, never, point }

/** Midnight UTC, six days ago: inside the week that is kept as a view. */
export const START_MS = Math.floor(Date.now() / DAY_MS) * DAY_MS - 6 * DAY_MS

/** Keeps what was published. */
export class Published implements Publisher {
  readonly healthy = true
  readonly records: { readonly topic: string; readonly record: OutRecord }[] = []
  /** What the next call fails with. */
  trouble: Error | undefined

  async publish(topic: string, records: readonly OutRecord[]): Promise<void> {
    if (this.trouble !== undefined) throw this.trouble
    for (const record of records) this.records.push({ topic, record })
  }

  get jobs(): Record<string, unknown>[] {
    return this.records.map(
      ({ record }) => JSON.parse(record.value?.toString() ?? 'null') as Record<string, unknown>,
    )
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
}

export interface StartedApi {
  readonly url: string
  readonly published: Published
  readonly engine: Engine
  readonly metrics: ReturnType<typeof createMetrics>
  onResult(result: ResultMessage): void
  stop(): Promise<void>
  get(path: string, headers?: Record<string, string>): Promise<Response>
  /** The body of a reply that must be 200. */
  json<T>(path: string, headers?: Record<string, string>): Promise<T>
}

/** An API over this engine on a free port, stopped after the test, and the store with it. Redis only where `config` names it. */
export async function startApi(
  t: TestContext,
  engine: Engine,
  config: Pick<ConfigInput, 'api' | 'redis'> = {},
  ownStore?: ObjectStore,
): Promise<StartedApi> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-api-'))
  // Longer than a busy machine holds anybody up: after it an event is gone, or a limit counted elsewhere.
  const redis = config.redis === undefined ? undefined : { command_timeout: '30s', ...config.redis }
  const whole = configSchema.parse({ ...config, redis, data: folder, api: { ...config.api, port: 0 } })
  const platforms = [...BUILT_IN.values()]
  const published = new Published()
  const metrics = createMetrics()
  const store = ownStore ?? new FolderStore({ folder: join(folder, 'store') })
  const api = openApi(whole, {
    ...{ engine, store, publisher: published, platforms, metrics, log: silent },
    topics: topicsOf(
      whole,
      platforms.map(({ name }) => name),
    ),
  })
  t.after(async () => {
    await api.stop()
    await store.stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
  })
  await api.start()
  const url = api.url ?? ''
  const get = (path: string, headers: Record<string, string> = {}) => fetch(url + path, { headers })
  return {
    ...{ url, published, engine, metrics, get },
    onResult: (result) => api.onResult(result),
    stop: () => api.stop(),
    json: async <T>(path: string, headers?: Record<string, string>) => {
      const reply = await get(path, headers)
      const text = await reply.text()
      if (reply.status !== 200) throw new Error(`${path}: ${reply.status} ${text}`)
      return JSON.parse(text) as T
    },
  }
}

export interface Snapshot {
  readonly platform?: string
  readonly creatorId: string
  readonly tsMs?: number
  readonly observedAtMs?: number
  readonly followers: number
  readonly engagement?: number
  readonly facts?: Partial<Extract<Row, { table: 'creators' }>>
  readonly rows?: readonly Row[]
}

/** An engine with a database of its own, and what writes snapshots into it as the daemon does. */
export async function openFilled(t: TestContext, url: string, snapshots: readonly Snapshot[] = []) {
  const engine = await openOwnDatabase(t, url)
  const { sink } = await startSink(t, engine, { ageMs: 5 })
  const write = async (some: readonly Snapshot[]) => {
    await Promise.all(
      some.map(({ platform = 'instagram', creatorId, followers, engagement, facts, rows = [], ...times }) => {
        const tsMs = times.tsMs ?? START_MS
        return sink.write(
          jobRows(
            randomUUID(),
            [
              point('followers', followers),
              ...(engagement === undefined ? [] : [point('engagement_rate', engagement)]),
              {
                table: 'creators',
                ...{
                  name: `Name of ${creatorId}`,
                  handle: creatorId,
                  biography: '',
                  verified: false,
                  gone: false,
                },
                ...{ flags: [], email: '', pictureUrl: '' },
                ...facts,
              },
              ...rows,
              { table: 'jobs', jobType: 'profile', status: 'done', reason: '', attempts: 1, durationMs: 5 },
            ],
            { platform, creatorId, tsMs, observedAtMs: times.observedAtMs ?? tsMs + 1_500 },
          ),
          never,
        )
      }),
    )
  }
  await write(snapshots)
  return { engine, write }
}

/** A result as the daemon publishes it. */
export function resultOf(fields: Partial<ResultMessage> = {}): ResultMessage {
  const at = new Date().toISOString()
  return {
    ...{ job_id: randomUUID(), platform: 'instagram', creator_id: 'a', job_type: 'profile', status: 'done' },
    ...{
      reason: null,
      message: null,
      replayed: false,
      attempts: 1,
      rows: 2,
      pictures: [],
      pictures_rejected: [],
    },
    ...{ data: null, started_at: at, finished_at: at },
    ...fields,
  }
}
