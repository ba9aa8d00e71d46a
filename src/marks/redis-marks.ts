import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { Cluster, type Redis } from 'ioredis'
import { ServiceAwayError } from '../job/errors.ts'
import { type Marks, type Scraped, scrapeMarkOf } from '../job/mark.ts'
import { sleep } from '../lib/abort.ts'
import { Bundle } from '../redis/bundle.ts'
import { createClient, RedisLink, type RedisLinkOptions, type RedisUser } from '../redis/link.ts'
import type { Log } from '../telemetry/log.ts'

export interface RedisMarksOptions {
  readonly redis: RedisLinkOptions
  /** How long it is known that a job has ended, ms. */
  readonly endedKeptMs: number
  /**
   * What happens while Redis is away. `wait`: whoever asks is kept until it is back. `do_without`: nothing is known and nothing
   * noted, for daemons that go on without it.
   */
  readonly away: 'wait' | 'do_without'
}

const USER: RedisUser = { name: 'marks', whileAway: 'it is not known which jobs have ended', pipelines: true }
/** Smaller results do not become smaller. */
const COMPRESS_FROM_BYTES = 512
const RETRY_MS = { first: 50, most: 1_000 }

/** Sets each key that is not there; ARGV: for how long in ms, then the values. Answers for each whether it was set. */
const NOTE = `
local noted = {}
for at, key in ipairs(KEYS) do
  noted[at] = redis.call('SET', key, ARGV[at + 1], 'PX', ARGV[1], 'NX') and 1 or 0
end
return noted`

/** The script as ioredis offers it once it is defined. */
type Scripted = Redis & {
  millraceNote(keys: number, ...keysAndArguments: (string | number | Buffer)[]): Promise<number[]>
}

interface Note {
  readonly key: string
  readonly value: Buffer
}

/** Marks that all daemons share: one key each, so that a cluster spreads them. */
export class RedisMarks implements Marks {
  readonly #options: RedisMarksOptions
  readonly #client: Redis | Cluster
  readonly #link: RedisLink
  readonly #prefix: string
  readonly #read: Bundle<string, Buffer | null>
  /** True for a note that stands, false where there was one. */
  readonly #write: Bundle<Note, boolean>

  constructor(options: RedisMarksOptions, log: Log) {
    this.#options = options
    this.#client = createClient(options.redis, USER)
    this.#link = new RedisLink(this.#client, options.redis, USER, log)
    this.#prefix = options.redis.keyPrefix
    const together = this.#client instanceof Cluster ? eachKey(this.#client) : manyKeys(this.#client)
    this.#read = new Bundle((keys) => this.#link.run(() => together.read(keys)))
    this.#write = new Bundle((notes) => this.#link.run(() => together.write(notes, options.endedKeptMs)))
  }

  /** Rejects with ServiceAwayError when Redis does not answer in time. */
  start(): Promise<void> {
    return this.#link.start()
  }

  stop(): Promise<void> {
    return this.#link.stop()
  }

  async ended(name: string, signal: AbortSignal): Promise<Buffer | null> {
    const packed = await this.#ask(() => this.#read.ask(this.#endedKey(name)), null, signal)
    return packed === null ? null : unpack(packed)
  }

  async end(name: string, result: Buffer, signal: AbortSignal): Promise<Buffer> {
    const note = { key: this.#endedKey(name), value: pack(result) }
    // Twice at most in practice: the other one's mark would have to expire between the two questions.
    for (;;) {
      if (await this.#ask(() => this.#write.ask(note), true, signal)) return result
      const standing = await this.ended(name, signal)
      if (standing !== null) return standing
    }
  }

  async scrapedBy(scraped: Scraped, signal: AbortSignal): Promise<string | null> {
    const get = () => this.#link.run(() => this.#client.get(this.#scrapedKey(scraped)))
    return await this.#ask(get, null, signal)
  }

  async scraped(scraped: Scraped, name: string, keepMs: number, signal: AbortSignal): Promise<void> {
    const set = () => this.#link.run(() => this.#client.set(this.#scrapedKey(scraped), name, 'PX', keepMs))
    await this.#ask(set, null, signal)
  }

  #endedKey(name: string): string {
    return `${this.#prefix}:ended:${name}`
  }

  #scrapedKey(scraped: Scraped): string {
    return `${this.#prefix}:scraped:${scrapeMarkOf(scraped)}`
  }

  /** Every question may be asked twice: noting is idempotent, since who finds its own mark goes by it. */
  async #ask<T>(call: () => Promise<T>, without: T, signal: AbortSignal): Promise<T> {
    for (let pauseMs = RETRY_MS.first; ; pauseMs = Math.min(pauseMs * 2, RETRY_MS.most)) {
      signal.throwIfAborted()
      try {
        return await call()
      } catch (error) {
        if (!(error instanceof ServiceAwayError)) throw error
        if (this.#options.away === 'do_without') return without
        await sleep(pauseMs, signal)
      }
    }
  }
}

/** How marks are read and written together. */
interface Together {
  read(keys: readonly string[]): Promise<readonly (Buffer | null)[]>
  write(notes: readonly Note[], keepMs: number): Promise<readonly boolean[]>
}

/** One command for all keys. */
function manyKeys(client: Redis): Together {
  client.defineCommand('millraceNote', { lua: NOTE })
  // defineCommand has just added the method that the type names.
  const scripted = client as Scripted
  return {
    read: (keys) => client.mgetBuffer([...keys]),
    async write(notes, keepMs) {
      const keys = notes.map(({ key }) => key)
      const noted = await scripted.millraceNote(
        keys.length,
        ...keys,
        keepMs,
        ...notes.map(({ value }) => value),
      )
      return noted.map((one) => one === 1)
    },
  }
}

/** In a cluster each key may be another node's. */
function eachKey(cluster: Cluster): Together {
  return {
    read: (keys) => Promise.all(keys.map((key) => cluster.getBuffer(key))),
    write: (notes, keepMs) =>
      Promise.all(
        notes.map(async ({ key, value }) => (await cluster.set(key, value, 'PX', keepMs, 'NX')) === 'OK'),
      ),
  }
}

/** Results are JSON, so the first byte tells which of them are compressed. */
function pack(result: Buffer): Buffer {
  return result.length < COMPRESS_FROM_BYTES ? result : zstdCompressSync(result)
}

function unpack(packed: Buffer): Buffer {
  return packed[0] === '{'.charCodeAt(0) ? packed : zstdDecompressSync(packed)
}
