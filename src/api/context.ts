import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { ObjectStore } from '../job/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Engine } from '../timeseries/engine.ts'
import type { Principal } from './auth/principal.ts'
import type { Answers } from './cache/answers.ts'
import type { Cursors } from './cursor.ts'
import type { EventLog } from './events/event-log.ts'
import type { Fairness } from './fairness.ts'
import type { Role } from './role.ts'
import type { ScrapeDesk } from './scrapes/scrape-desk.ts'

/** What routes work with. */
export interface Context {
  readonly engine: Engine
  readonly answers: Answers
  readonly cursors: Cursors
  readonly fairness: Fairness
  readonly events: EventLog
  readonly scrapes: ScrapeDesk
  readonly store: Pick<ObjectStore, 'presign'>
  readonly metrics: Metrics
  readonly log: Log
  /** A creator's id as its platform writes it; as it is where it cannot be one. */
  readonly normalise: (platform: string, creatorId: string) => string
  /** Known platforms, for what a scrape may ask for. */
  readonly platforms: readonly string[]
  readonly queryTimeoutMs: number
  readonly exportTimeoutMs: number
  /** How long nothing of an export may go out before it is broken off. */
  readonly exportStallMs: number
  readonly streamClientsMax: number
}

export type App = FastifyInstance<
  import('node:http').Server,
  import('node:http').IncomingMessage,
  import('node:http').ServerResponse,
  import('fastify').FastifyBaseLogger,
  ZodTypeProvider
>

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks; known from the start of every handler of a route that has a role. */
    principal: Principal
    /** Aborted when the client has left before its reply was complete. */
    left: AbortSignal
  }
  interface FastifyContextConfig {
    /** Who may use the route; without one it is open to all. */
    role?: Role
    /** The methods that the address takes, where this is none of them. */
    allow?: string
  }
}

/** For `Fairness` and the log. */
export function clientOf(request: FastifyRequest): string {
  return request.principal.name
}
