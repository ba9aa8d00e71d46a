import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Cluster, Redis } from 'ioredis'
import { ServiceAwayError } from '../job/errors.ts'
import { type Marks, type Scraped, scrapeMarkOf } from '../job/mark.ts'
import { sleep } from '../lib/abort.ts'
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

/** Marks that all daemons share: one key each, so that a cluster spreads them. */
export class RedisMarks implements Marks {
  readonly #options: RedisMarksOptions
  readonly #client: Redis | Cluster
  readonly #link: RedisLink
  readonly #prefix: string

  constructor(options: RedisMarksOptions, log: Log) {
    this.#options = options
    this.#client = createClient(options.redis, USER)
    this.#link = new RedisLink(this.#client, options.redis, USER, log)
    this.#prefix = options.redis.keyPrefix
  }

  /** Rejects with ServiceAwayError when Redis does not answer in time. */
  start(): Promise<void> {
    return this.#link.start()
  }

  stop(): Promise<void> {
    return this.#link.stop()
  }

  async ended(name: string, signal: AbortSignal): Promise<Buffer | null> {
    const packed = await this.#ask(() => this.#client.getBuffer(this.#endedKey(name)), null, signal)
    return packed === null ? null : unpack(packed)
  }

  async end(name: string, result: Buffer, signal: AbortSignal): Promise<Buffer> {
    const key = this.#endedKey(name)
    const packed = pack(result)
    const note = () => this.#client.set(key, packed, 'PX', this.#options.endedKeptMs, 'NX')
    // Twice at most in practice: the other one's mark would have to expire between the two questions.
    for (;;) {
      if ((await this.#ask(note, 'OK', signal)) === 'OK') return result
      const standing = await this.ended(name, signal)
      if (standing !== null) return standing
    }
  }

  async scrapedBy(scraped: Scraped, signal: AbortSignal): Promise<string | null> {
    return await this.#ask(() => this.#client.get(this.#scrapedKey(scraped)), null, signal)
  }

  async scraped(scraped: Scraped, name: string, keepMs: number, signal: AbortSignal): Promise<void> {
    await this.#ask(() => this.#client.set(this.#scrapedKey(scraped), name, 'PX', keepMs), null, signal)
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
        return await this.#link.run(call)
      } catch (error) {
        if (!(error instanceof ServiceAwayError)) throw error
        if (this.#options.away === 'do_without') return without
        await sleep(pauseMs, signal)
      }
    }
  }
}

/** Results are JSON, so the first byte tells which of them are compressed. */
function pack(result: Buffer): Buffer {
  return result.length < COMPRESS_FROM_BYTES ? result : zstdCompressSync(result)
}

function unpack(packed: Buffer): Buffer {
  return packed[0] === '{'.charCodeAt(0) ? packed : zstdDecompressSync(packed)
}
