import { request } from 'undici'
import { z } from 'zod'
import type { Config } from '../config/schema.ts'
import { MillraceError, messageOf } from '../job/errors.ts'
import { describeIssues } from '../job/job.ts'
import type { LevelState } from '../job/permit.ts'
import { endpointLevel } from '../limiter/plan.ts'
import { openLimiter } from '../parts/limits.ts'
import { platformsOf } from '../parts/platforms.ts'
import { createLog } from '../telemetry/log.ts'
import { createMetrics } from '../telemetry/metrics.ts'

/** Who knows the state of the levels. */
export interface LevelSource {
  /** Whose state it is, in a few words. */
  readonly whose: string
  /** Each level once. Rejects with MillraceError of kind `service_away` when nobody answers. */
  look(signal: AbortSignal): Promise<readonly LevelState[]>
  close(): Promise<void>
}

/** Redis, which knows what all daemons were granted; or the daemon at `url`, or the one of `admin`, when there is no Redis. */
export async function openLevels(config: Config, url: string | undefined): Promise<LevelSource> {
  if (url === undefined && config.redis !== undefined) return openRedis(config)
  return new AdminLevels(url === undefined ? adminUrl(config) : checked(url))
}

async function openRedis(config: Config): Promise<LevelSource> {
  const platforms = (await platformsOf(config, process.cwd())).map(({ platform }) => platform.name)
  // Whoever looks on is no daemon: it takes no share to go on with while Redis is away.
  const onlooker: Config = { ...config, limits: { ...config.limits, redis_away: 'pause' } }
  const limiter = openLimiter(
    onlooker,
    createMetrics(),
    createLog({ level: 'silent', pretty: false, secrets: [] }),
  )
  await limiter.start()
  return {
    whose: 'all daemons, as Redis knows them',
    async look() {
      const states = await Promise.all(platforms.map((platform) => limiter.levels(platform)))
      return [...new Map(states.flat().map((state) => [state.level, state])).values()]
    },
    close: () => limiter.stop(),
  }
}

const status = z.looseObject({
  mode: z.looseObject({ limiter: z.enum(['redis', 'memory']) }),
  permits: z.record(z.string(), z.record(z.string(), z.looseObject({ queued: z.number() }))),
  levels: z.array(
    z.object({
      level: z.string(),
      kind: z.enum(['bucket', 'window', 'quota']),
      remaining: z.number(),
      capacity: z.number(),
      rate: z.number(),
      factor: z.number(),
      blockedUntilMs: z.number(),
      resetsAtMs: z.number(),
      grantedLastMinute: z.number(),
      waiting: z.number(),
    }),
  ),
})

const ANSWER_MS_MAX = 6_000

/** The levels as one daemon's admin port tells them. */
class AdminLevels implements LevelSource {
  readonly #url: URL
  #whose: string

  constructor(url: URL) {
    this.#url = url
    this.#whose = `the daemon at ${url.href}`
  }

  get whose(): string {
    return this.#whose
  }

  async look(signal: AbortSignal): Promise<readonly LevelState[]> {
    const { mode, permits, levels } = await this.#ask(signal)
    if (levels.length === 0) throw away(`${this.#whose} knows of no level: its limiter is away`)
    if (mode.limiter === 'redis') {
      this.#whose = `all daemons, as the one at ${this.#url.href} was told by Redis`
      return levels
    }
    this.#whose = `the daemon at ${this.#url.href} alone`
    const queued = new Map<string, number>()
    for (const [platform, endpoints] of Object.entries(permits)) {
      for (const [endpoint, of] of Object.entries(endpoints))
        queued.set(endpointLevel(platform, endpoint), of.queued)
    }
    // A limiter in memory is not told who waits; the daemon's own queues are by endpoint.
    return levels.map((state) => ({ ...state, waiting: queued.get(state.level) ?? state.waiting }))
  }

  async close(): Promise<void> {}

  async #ask(signal: AbortSignal): Promise<z.output<typeof status>> {
    const at = this.#url.href
    let statusCode: number
    let json: unknown
    try {
      const reply = await request(new URL('status', at), {
        signal,
        headersTimeout: ANSWER_MS_MAX,
        bodyTimeout: ANSWER_MS_MAX,
      })
      statusCode = reply.statusCode
      json = await reply.body.json().catch(() => undefined)
    } catch (error) {
      const why = (error as NodeJS.ErrnoException).code ?? messageOf(error)
      throw away(
        `no daemon answers at ${at} (${why}); start one, name its admin address with --url, or configure redis, which knows all of them`,
        error,
      )
    }
    if (statusCode !== 200)
      throw away(`${at}status answers ${statusCode}; expected the admin address of a daemon`)
    const parsed = status.safeParse(json)
    if (parsed.success) return parsed.data
    throw away(`${at}status is not what a daemon of this version says: ${describeIssues(parsed.error)}`)
  }
}

function adminUrl({ admin }: Config): URL {
  if (admin.port === 0) {
    throw new MillraceError(
      'USAGE',
      'limits: admin.port is 0, so the daemon took any free one; name it with --url',
      { kind: 'usage' },
    )
  }
  // An address to listen on, which is not always one to call.
  const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[admin.host] ?? admin.host
  return new URL(`http://${host.includes(':') ? `[${host}]` : host}:${admin.port}/`)
}

function checked(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new MillraceError(
      'USAGE',
      `limits: --url: found ${JSON.stringify(text)}, expected an address such as http://127.0.0.1:9464`,
      { kind: 'usage' },
    )
  }
  // So that `status` is found below it.
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url
}

function away(message: string, cause?: unknown): MillraceError {
  return new MillraceError('DAEMON_AWAY', `limits: ${message}`, { kind: 'service_away', cause })
}
