/** On a busy daemon a page asks for a picture when newer ones have long pushed it out of the status. */
const NAMED_MAX = 1_000
/** Bodies that are kept, so that sixteen consoles read the store as often as one. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024
/** Reads of the store at once, and those that wait for their turn: who looks at pictures must not keep it from taking them. */
const READS_MAX = 4
const WAITING_MAX = 60
const BODY_BYTES_MAX = 1024 * 1024

const TYPES: Readonly<Record<string, string>> = {
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
  avif: 'image/avif',
}

export interface ShownPicture {
  readonly type: string
  readonly body: Buffer
}

/**
 * The way from the console to the store: only to pictures that this daemon wrote and that a status has named lately. No folder
 * can be listed and no key guessed; a few reads at once, a few megabytes kept.
 */
export class PictureDoor {
  readonly #read: ((key: string) => Promise<Buffer | null>) | undefined
  /** Oldest first. */
  readonly #named = new Set<string>()
  /** Least recently kept first. */
  readonly #kept = new Map<string, Buffer>()
  readonly #underWay = new Map<string, Promise<Buffer | null>>()
  readonly #waiting: (() => void)[] = []
  #keptBytes = 0
  #reads = 0

  constructor(read: ((key: string) => Promise<Buffer | null>) | undefined) {
    this.#read = read
  }

  /** These may be asked for from now on. */
  name(keys: readonly string[]): void {
    for (const key of keys) this.#named.add(key)
    for (const key of this.#named) {
      if (this.#named.size <= NAMED_MAX) break
      this.#named.delete(key)
    }
  }

  /** Null for what is not shown; `busy` when too many are read already. */
  async open(key: string): Promise<ShownPicture | null | 'busy'> {
    const type = TYPES[key.slice(key.lastIndexOf('.') + 1)]
    if (type === undefined || !this.#named.has(key)) return null
    const kept = this.#kept.get(key)
    if (kept !== undefined) return { type, body: kept }
    let reading = this.#underWay.get(key)
    if (reading === undefined) {
      if (this.#waiting.length >= WAITING_MAX) return 'busy'
      reading = this.#inTurn(key).finally(() => this.#underWay.delete(key))
      this.#underWay.set(key, reading)
    }
    const body = await reading
    if (body === null || body.length > BODY_BYTES_MAX) return null
    this.#keep(key, body)
    return { type, body }
  }

  async #inTurn(key: string): Promise<Buffer | null> {
    if (this.#reads >= READS_MAX) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#reads++
    try {
      return (await this.#read?.(key)) ?? null
    } finally {
      this.#reads--
      this.#waiting.shift()?.()
    }
  }

  #keep(key: string, body: Buffer): void {
    if (this.#kept.has(key)) return
    this.#kept.set(key, body)
    this.#keptBytes += body.length
    for (const [oldest, { length }] of this.#kept) {
      if (this.#keptBytes <= KEPT_BYTES_MAX) break
      this.#kept.delete(oldest)
      this.#keptBytes -= length
    }
  }
}
