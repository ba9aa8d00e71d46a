import type { Cluster, Redis } from 'ioredis'
import { sleep } from '../../lib/abort.ts'
import { createClient, RedisLink, type RedisLinkOptions, type RedisUser } from '../../redis/link.ts'
import type { Log } from '../../telemetry/log.ts'
import { type ApiEvent, isAfter, type StoredEvent } from './event.ts'
import { EVENTS_KEPT_MAX, type EventLog, type EventSource } from './event-log.ts'

const WRITER: RedisUser = { name: 'api', whileAway: 'the stream stands still', pipelines: true }
const READER: RedisUser = { name: 'api-events', whileAway: 'the stream stands still', pipelines: false }

/** Below the connection's own patience. */
const BLOCK_MS = 2_000
const READER_PATIENCE_MS = 5_000
const RETRY_MS = 200
const READ_EVENTS_MAX = 1_000

/**
 * KEYS: the stream, and how far each source was read. ARGV: how many to keep, the source's name and offset (or ''), the events.
 * An offset that is not beyond the last one of its source was told before, by a process that could not say so any more.
 */
const APPEND = `
if ARGV[2] ~= '' then
  local last = redis.call('HGET', KEYS[2], ARGV[2])
  if last and tonumber(last) >= tonumber(ARGV[3]) then return 0 end
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
end
for at = 4, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'e', ARGV[at])
end
return 1`

type Scripted = Redis & {
  millraceApiAppend(keys: number, ...keysAndArguments: (string | number)[]): Promise<number>
}

/**
 * Events that all processes share: a Redis stream, bounded, which every process follows from where it is. Unlike a
 * subscription, a follower that loses its connection goes on where it was, so nothing is missed in between.
 *
 * States: stopped → start → following ⇄ away (tried again) → stop.
 */
export class RedisLog implements EventLog {
  readonly #writer: RedisLink
  readonly #reader: RedisLink
  readonly #stream: string
  readonly #sources: string
  readonly #listeners = new Set<(stored: StoredEvent) => void>()
  readonly #log: Log
  #stopping: AbortController | undefined
  #following: Promise<void> | undefined
  #last = '0-0'
  #hears = false

  constructor(options: RedisLinkOptions, log: Log) {
    this.#log = log
    const patient = { ...options, commandTimeoutMs: READER_PATIENCE_MS }
    this.#writer = new RedisLink(createClient(options, WRITER), options, WRITER, log)
    this.#reader = new RedisLink(createClient(patient, READER), patient, READER, log)
    ;(this.#writer.client as Redis).defineCommand('millraceApiAppend', { lua: APPEND })
    // One tag: a script's keys have to be on one node of a cluster.
    this.#stream = `{${options.keyPrefix}:api}:events`
    this.#sources = `{${options.keyPrefix}:api}:sources`
  }

  /** The connection that writes, for whatever else of the API needs Redis. */
  get link(): RedisLink {
    return this.#writer
  }

  get healthy(): boolean {
    return this.#hears
  }

  async start(): Promise<void> {
    if (this.#stopping !== undefined) return
    await Promise.all([this.#writer.start(), this.#reader.start()])
    const [newest] = await this.#writer.run(() => this.#client.xrevrange(this.#stream, '+', '-', 'COUNT', 1))
    this.#last = newest?.[0] ?? '0-0'
    this.#stopping = new AbortController()
    this.#hears = true
    this.#following = this.#follow(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping?.abort()
    this.#hears = false
    await Promise.all([this.#writer.stop(), this.#reader.stop()])
    await this.#following
    this.#stopping = undefined
    this.#listeners.clear()
  }

  async append(events: readonly ApiEvent[], source?: EventSource): Promise<void> {
    if (events.length === 0) return
    const from = source === undefined ? '' : `${source.topic}-${source.partition}`
    const texts = events.map((event) => JSON.stringify(event))
    await this.#writer.run(() =>
      (this.#client as Scripted).millraceApiAppend(
        2,
        ...[this.#stream, this.#sources, EVENTS_KEPT_MAX, from, source?.offset ?? '', ...texts],
      ),
    )
  }

  async after(id: string) {
    const [first] = await this.#writer.run(() => this.#client.xrange(this.#stream, '-', '+', 'COUNT', 1))
    const entries = await this.#writer.run(() => this.#client.xrange(this.#stream, `(${id}`, '+'))
    // Unless it is there still, or is followed by the oldest that is, something in between may be forgotten.
    const known =
      first === undefined ||
      !isAfter(first[0], id) ||
      (await this.#writer.run(() => this.#client.xlen(this.#stream))) < EVENTS_KEPT_MAX
    return { events: entries.map(storedOf), complete: known }
  }

  subscribe(listener: (stored: StoredEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  get #client(): Redis | Cluster {
    return this.#writer.client
  }

  async #follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const read = await this.#reader.run(() =>
          this.#reader.client.xread(
            ...(['COUNT', READ_EVENTS_MAX, 'BLOCK', BLOCK_MS, 'STREAMS', this.#stream, this.#last] as const),
          ),
        )
        for (const [id, fields] of read?.[0]?.[1] ?? []) {
          this.#last = id
          this.#tell(storedOf([id, fields]))
        }
        this.#hears = true
      } catch (error) {
        if (signal.aborted) return
        this.#hears = false
        this.#log.debug({ err: error }, 'the events cannot be read for the moment')
        await sleep(RETRY_MS, signal).catch(() => {})
      }
    }
  }

  #tell(stored: StoredEvent): void {
    for (const listener of this.#listeners) listener(stored)
  }
}

function storedOf([id, fields]: [string, string[]]): StoredEvent {
  return { id, event: JSON.parse(fields[1] ?? 'null') as ApiEvent }
}
