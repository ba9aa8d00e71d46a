import { messageOf, ServiceAwayError } from '../job/errors.ts'
import type { StoredVariant } from '../job/picture.ts'
import type { ObjectInfo, ObjectStore } from '../job/store.ts'
import { sleep } from '../lib/abort.ts'
import type { Log } from '../telemetry/log.ts'
import type { MadeVariant } from './resize-task.ts'
import { contentTypeOf, keyOf, type Variant } from './variants.ts'

/** What is known of a picture whose variants are all in the store. */
export interface StoredPicture {
  readonly sha256: string
  readonly thumbhash: string
  readonly variants: readonly StoredVariant[]
}

export interface ShelfOptions {
  readonly variants: readonly Variant[]
  /** First wait while the store is away; doubles up to `backoffMsMax`. */
  readonly backoffMs: number
  readonly backoffMsMax: number
}

/** Content-addressed, so what is under a key never changes. */
const CACHE_CONTROL = 'public, max-age=31536000, immutable'

/**
 * The store, as pictures use it. While it is away every call waits, with back-off, and `healthy` is false: a picture is never
 * dropped for the store's sake. That includes errors an operator has to mend (rights, a missing bucket): they are logged as
 * what they are, and the work goes on when they are mended.
 */
export class Shelf {
  readonly #store: ObjectStore
  readonly #options: ShelfOptions
  readonly #log: Log
  #failing = 0

  constructor(store: ObjectStore, options: ShelfOptions, log: Log) {
    this.#store = store
    this.#options = options
    this.#log = log
  }

  get healthy(): boolean {
    return this.#failing === 0
  }

  /**
   * The picture, when every configured variant is there and its object tells size and thumbhash; undefined when it has to be
   * resized. One look-up when it is unknown.
   */
  async find(sha256: string, signal: AbortSignal): Promise<StoredPicture | undefined> {
    const [first, ...others] = this.#options.variants
    if (first === undefined) return undefined
    const found = [await this.#head(sha256, first, signal)]
    if (found[0] === undefined) return undefined
    found.push(...(await Promise.all(others.map((variant) => this.#head(sha256, variant, signal)))))
    const whole = found.filter((entry) => entry !== undefined)
    if (whole.length < found.length) return undefined
    return { sha256, thumbhash: whole[0]!.thumbhash, variants: whole.map(({ stored }) => stored) }
  }

  /** Writes what is not there yet. The answer describes what is in the store, also where another one had written it. */
  async keep(
    sha256: string,
    picture: { readonly made: readonly MadeVariant[]; readonly thumbhash: string },
    signal: AbortSignal,
  ): Promise<StoredPicture> {
    const { made, thumbhash } = picture
    const variants = await Promise.all(
      made.map(async ({ variant, width, height, bytes }): Promise<StoredVariant> => {
        const key = keyOf(sha256, variant)
        const meta = {
          contentType: contentTypeOf(variant),
          cacheControl: CACHE_CONTROL,
          metadata: { width: String(width), height: String(height), thumbhash },
        }
        const outcome = await this.#insist(() => this.#store.put(key, bytes, meta, signal), signal)
        const mine = { variant: variant.name, key, width, height, bytes: bytes.byteLength }
        if (outcome === 'written') return mine
        // Made earlier, perhaps under another configuration: the object is immutable, so its numbers are the true ones.
        return (await this.#head(sha256, variant, signal))?.stored ?? mine
      }),
    )
    return { sha256, thumbhash, variants: inOrder(variants, this.#options.variants) }
  }

  async #head(
    sha256: string,
    variant: Variant,
    signal: AbortSignal,
  ): Promise<{ stored: StoredVariant; thumbhash: string } | undefined> {
    const key = keyOf(sha256, variant)
    const info = await this.#insist(() => this.#store.head(key, signal), signal)
    if (info === null) return undefined
    const { width, height, thumbhash } = metadataOf(info)
    if (!(Number(width) > 0 && Number(height) > 0) || thumbhash === undefined) return undefined
    return {
      stored: { variant: variant.name, key, width: Number(width), height: Number(height), bytes: info.bytes },
      thumbhash,
    }
  }

  /** Tries until the store takes it. Rejects only with the signal's reason. */
  async #insist<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    let failed = false
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          return await call()
        } catch (error) {
          if (signal.aborted) throw signal.reason
          if (!failed) {
            failed = true
            if (this.#failing++ === 0) this.#complain(error)
          }
          const { backoffMs, backoffMsMax } = this.#options
          const ceilingMs = Math.min(backoffMsMax, backoffMs * 2 ** Math.min(attempt, 20))
          await sleep(ceilingMs * (0.5 + Math.random() / 2), signal)
        }
      }
    } finally {
      if (failed && --this.#failing === 0) this.#log.info('no picture waits for the store any more')
    }
  }

  #complain(error: unknown): void {
    if (error instanceof ServiceAwayError) this.#log.warn(`pictures wait: ${messageOf(error, 500)}`)
    else this.#log.error({ err: error }, `pictures wait until this is mended: ${messageOf(error, 500)}`)
  }
}

function metadataOf(info: ObjectInfo): Readonly<Record<string, string | undefined>> {
  return 'metadata' in info && typeof info.metadata === 'object' && info.metadata !== null
    ? (info.metadata as Record<string, string>)
    : {}
}

function inOrder(stored: readonly StoredVariant[], variants: readonly Variant[]): readonly StoredVariant[] {
  return variants.flatMap(({ name }) => stored.filter(({ variant }) => variant === name))
}
