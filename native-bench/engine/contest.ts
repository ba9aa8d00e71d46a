import { bare, fetchEngine } from './callers.ts'
import type { Contestant, Round } from './contestant.ts'
import { daemon, type Extras, type Services } from './daemon.ts'

// The process of one contestant: begins as its argument says, and does a round for each message.

export type Name =
  | 'undici.request'
  | 'fetch engine'
  | 'daemon, from memory'
  | 'daemon, Kafka and Redis'
  | 'daemon, a line a job'
  | 'daemon, scraped'

/** What a contestant needs to begin. */
export interface Begin {
  readonly name: Name
  readonly origin: string
  readonly sockets: number
  readonly services?: Services | undefined
  readonly extras?: Extras
}

/** The first message of a contestant. */
export interface Begun {
  readonly url: string | null
}

export interface Figures {
  readonly requests: number
  readonly elapsedMs: number
  /** Of all threads of its process. */
  readonly cpuMicros: number
  readonly rssBytes: number
}

const CONTESTANTS: Readonly<Record<Name, (begin: Begin) => Contestant | Promise<Contestant>>> = {
  'undici.request': ({ origin, sockets }) => bare(origin, sockets),
  'fetch engine': ({ origin, sockets }) => fetchEngine(origin, sockets),
  'daemon, from memory': ({ origin, sockets }) => daemon(origin, sockets),
  'daemon, Kafka and Redis': ({ origin, sockets, services }) => daemon(origin, sockets, services),
  'daemon, a line a job': ({ origin, sockets }) => daemon(origin, sockets, undefined, { logJobs: 'all' }),
  'daemon, scraped': ({ origin, sockets, extras }) => daemon(origin, sockets, undefined, extras),
}

const begin = JSON.parse(process.argv[2]!) as Begin
const contestant = await CONTESTANTS[begin.name](begin)
process.on('message', async (round: Round) => {
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  const requests = await contestant.round(round)
  const elapsedMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(cpu)
  const rssBytes = process.memoryUsage.rss()
  process.send?.({ requests, elapsedMs, cpuMicros: user + system, rssBytes } satisfies Figures)
})
process.once('disconnect', async () => {
  await contestant.stop()
  process.exit()
})
process.send?.({ url: contestant.url ?? null } satisfies Begun)
