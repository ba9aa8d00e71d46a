import { hash } from 'node:crypto'
import type { Downloader } from '../job/fetch.ts'
import type { PictureOutcome, PictureRequest, PictureStage } from '../job/picture.ts'
import type { Steps } from '../job/steps.ts'
import type { ObjectStore } from '../job/store.ts'
import { SingleFlight } from '../lib/single-flight.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { sha256Of } from './digest.ts'
import { Gate, type Pass } from './gate.ts'
import { Leash } from './leash.ts'
import { Lru } from './lru.ts'
import type { PicturePool } from './pool.ts'
import { Shelf, type StoredPicture } from './shelf.ts'
import { addressOf, downloaded, type Validators } from './source.ts'
import { checkVariants, type Variant } from './variants.ts'

export interface PicturesOptions {
  readonly variants: readonly Variant[]
  /** Of one source, on the wire. Default 20,000,000. */
  readonly bytesMax?: number
  /** Pictures between the start of their download and their storing. Default 64. */
  readonly inFlightMax?: number
  /**
   * Bytes of sources and variants held at once. Default 256,000,000. A download counts 1 MB until its size is known, so the
   * most that can ever be held is this plus `inFlightMax` × (`bytesMax` − 1 MB).
   */
  readonly bytesInFlightMax?: number
  /** Addresses, and pictures, remembered. About 0.5 KB each. Default 50,000. */
  readonly rememberedMax?: number
  /** For how long a remembered picture is taken to be in the store without looking. Default an hour. */
  readonly trustMs?: number
  /** Tries of one download. Default 3. */
  readonly attemptsMax?: number
  /** First wait of a repeated download. Default 500. */
  readonly downloadBackoffMs?: number
  /** First and longest wait while the store is away. Default 250 and 15,000. */
  readonly storeBackoffMs?: number
  readonly storeBackoffMsMax?: number
}

export interface PicturesParts {
  readonly downloader: Downloader
  readonly store: ObjectStore
  readonly pool: PicturePool
  readonly metrics: Metrics
  readonly log: Log
  /** Unix ms. */
  readonly now?: () => number
}

/** What an address gave the last time. */
interface Remembered {
  readonly sha256: string
  readonly validators: Validators
}

type Found =
  | { readonly status: 'stored'; readonly picture: StoredPicture; readonly known: boolean }
  | Rejected
type Rejected = { readonly status: 'rejected'; readonly why: string }

const DOWNLOAD_BYTES_EXPECTED = 1_000_000

/**
 * Pictures from their address to the store: remembered? → download → known bytes? → resize → store. States: new → started →
 * stopped. The same address, and the same bytes under different addresses, are worked on once however often they are asked for
 * at the same time. At its bounds the stage makes callers wait before the download.
 */
export class Pictures implements PictureStage {
  readonly #options: Required<Omit<PicturesOptions, 'variants'>>
  readonly #parts: PicturesParts
  readonly #shelf: Shelf
  readonly #gate: Gate
  readonly #byAddress = new SingleFlight<Found>()
  readonly #byBytes = new SingleFlight<Found>()
  /** By a hash of the address: addresses can be long. */
  readonly #addresses: Lru<Remembered>
  /** By SHA-256. */
  readonly #pictures: Lru<{ readonly picture: StoredPicture; readonly seenAtMs: number }>
  /** By SHA-256: bytes that are no picture need not be found out to be none again. */
  readonly #refused: Lru<{ readonly why: string; readonly seenAtMs: number }>
  readonly #leash = new Leash()
  readonly #underWay = new Set<Promise<unknown>>()

  constructor(options: PicturesOptions, parts: PicturesParts) {
    checkVariants(options.variants)
    this.#options = {
      bytesMax: options.bytesMax ?? 20_000_000,
      inFlightMax: options.inFlightMax ?? 64,
      bytesInFlightMax: options.bytesInFlightMax ?? 256_000_000,
      rememberedMax: options.rememberedMax ?? 50_000,
      trustMs: options.trustMs ?? 60 * 60 * 1000,
      attemptsMax: options.attemptsMax ?? 3,
      downloadBackoffMs: options.downloadBackoffMs ?? 500,
      storeBackoffMs: options.storeBackoffMs ?? 250,
      storeBackoffMsMax: options.storeBackoffMsMax ?? 15_000,
    }
    this.#parts = parts
    const { storeBackoffMs: backoffMs, storeBackoffMsMax: backoffMsMax } = this.#options
    this.#shelf = new Shelf(parts.store, { variants: options.variants, backoffMs, backoffMsMax }, parts.log)
    this.#gate = new Gate({ countMax: this.#options.inFlightMax, weightMax: this.#options.bytesInFlightMax })
    this.#addresses = new Lru(this.#options.rememberedMax)
    this.#pictures = new Lru(this.#options.rememberedMax)
    this.#refused = new Lru(this.#options.rememberedMax)
  }

  /** False while the store does not take pictures or one is stuck in the codec. */
  get healthy(): boolean {
    return this.#shelf.healthy && !this.#parts.pool.stuck
  }

  /** Pictures and bytes inside the stage, and pictures waiting to enter. */
  get load(): { readonly inside: number; readonly bytes: number; readonly waiting: number } {
    return { inside: this.#gate.inside, bytes: this.#gate.weight, waiting: this.#gate.waiting }
  }

  /** Starts the pool. The store is expected to have been checked. */
  async start(): Promise<void> {
    await this.#parts.pool.start()
  }

  /** Aborts what has not ended by now (the pipeline drains first), then stops the pool. */
  async stop(): Promise<void> {
    this.#leash.pull(new DOMException('the picture stage has stopped', 'AbortError'))
    await Promise.allSettled(this.#underWay)
    await this.#parts.pool.stop()
  }

  /** `trace`: of the job that asks. Of several that ask for the same at once, the first one's has the steps. */
  async process(request: PictureRequest, signal: AbortSignal, trace?: Steps): Promise<PictureOutcome> {
    const { url: address, subject } = request
    signal.throwIfAborted()
    const url = addressOf(address)
    if (!(url instanceof URL)) return { status: 'rejected', url: address, subject, why: url.why }
    const found = await this.#shared(url, signal, trace)
    if (found.status === 'rejected') return { status: 'rejected', url: address, subject, why: found.why }
    const { sha256, thumbhash, variants } = found.picture
    return { status: 'stored', url: address, subject, sha256, thumbhash, variants, known: found.known }
  }

  async #shared(url: URL, signal: AbortSignal, trace: Steps | undefined): Promise<Found> {
    const key = hash('sha256', url.href, 'base64')
    const held = this.#leash.hold(signal)
    const work = this.#byAddress.run(key, (shared) => this.#fromAddress(url, key, shared, trace), held.signal)
    this.#underWay.add(work)
    try {
      return await work
    } finally {
      this.#underWay.delete(work)
      held.release()
    }
  }

  async #fromAddress(url: URL, key: string, signal: AbortSignal, trace: Steps | undefined): Promise<Found> {
    const pass = await this.#gate.enter(DOWNLOAD_BYTES_EXPECTED, signal)
    try {
      const before = await this.#remembered(key, signal)
      const { downloader } = this.#parts
      const { bytesMax, attemptsMax, downloadBackoffMs: backoffMs } = this.#options
      const timer = this.#timer('download', trace)
      const options = { bytesMax, attemptsMax, backoffMs, validators: before?.validators, signal }
      const source = await downloaded(downloader, url, options)
      timer()
      switch (source.status) {
        case 'unchanged':
          // Only said when we sent validators, which we have only of pictures that we know.
          return { status: 'stored', picture: before!.picture, known: true }
        case 'rejected':
          return source
        case 'bytes': {
          pass.reweigh(source.body.length)
          const sha256 = await sha256Of(source.body)
          const found = await this.#byBytes.run(
            sha256,
            (shared) => this.#fromBytes(source.body, sha256, pass, shared, trace),
            signal,
          )
          if (found.status === 'stored' && source.validators !== undefined) {
            this.#addresses.set(key, { sha256, validators: source.validators })
          }
          return found
        }
      }
    } finally {
      pass.leave()
    }
  }

  async #fromBytes(
    body: Buffer,
    sha256: string,
    pass: Pass,
    signal: AbortSignal,
    trace: Steps | undefined,
  ): Promise<Found> {
    const refused = this.#refused.get(sha256)
    if (refused !== undefined && this.#now() - refused.seenAtMs < this.#options.trustMs) {
      return { status: 'rejected', why: refused.why }
    }
    const known = await this.#known(sha256, signal)
    if (known !== undefined) return { status: 'stored', picture: known, known: true }
    const waiting = this.#timer('wait', trace)
    let resizing = () => {}
    const result = await this.#parts.pool.resize({ bytes: body, sha256 }, signal, () => {
      waiting()
      resizing = this.#timer('resize', trace)
    })
    resizing()
    if (result.status === 'rejected') {
      this.#parts.log.debug({ sha256, why: result.why }, 'picture rejected')
      if (result.passing !== true) this.#refused.set(sha256, { why: result.why, seenAtMs: this.#now() })
      return result
    }
    pass.reweigh(result.made.reduce((sum, { bytes }) => sum + bytes.byteLength, 0))
    const storing = this.#timer('store', trace)
    const picture = await this.#shelf.keep(sha256, result, signal)
    storing()
    // Nobody else has them. Megabytes that wait for the collector make it run every few pictures.
    for (const { bytes } of result.made) bytes.buffer.transfer(0)
    this.#pictures.set(sha256, { picture, seenAtMs: this.#now() })
    return { status: 'stored', picture, known: false }
  }

  /** The picture that an address gave before, with its validators, if it is certainly still in the store. */
  async #remembered(
    key: string,
    signal: AbortSignal,
  ): Promise<{ readonly picture: StoredPicture; readonly validators: Validators } | undefined> {
    const address = this.#addresses.get(key)
    if (address === undefined) return undefined
    const picture = await this.#known(address.sha256, signal)
    if (picture !== undefined) return { picture, validators: address.validators }
    this.#addresses.delete(key)
    return undefined
  }

  /** The stored picture of these bytes: from memory while that is young, else by looking into the store. */
  async #known(sha256: string, signal: AbortSignal): Promise<StoredPicture | undefined> {
    const entry = this.#pictures.get(sha256)
    if (entry !== undefined && this.#now() - entry.seenAtMs < this.#options.trustMs) return entry.picture
    const picture = await this.#shelf.find(sha256, signal)
    if (picture === undefined) this.#pictures.delete(sha256)
    else this.#pictures.set(sha256, { picture, seenAtMs: this.#now() })
    return picture
  }

  #timer(stage: 'download' | 'wait' | 'resize' | 'store', trace: Steps | undefined): () => void {
    const startMs = performance.now()
    const end = trace?.step(stage)
    return () => {
      end?.()
      this.#parts.metrics.picture_stage_duration_seconds.observe(
        { stage },
        (performance.now() - startMs) / 1000,
      )
    }
  }

  #now(): number {
    return (this.#parts.now ?? Date.now)()
  }
}
