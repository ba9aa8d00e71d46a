import { createHash } from 'node:crypto'
import type { RedisLink } from '../../redis/link.ts'
import { Answer } from './answer.ts'
import type { AnswerKey } from './answer-key.ts'

/**
 * Answers that all processes share. What there is of one creator stands in one hash, so that dropping it is one command. Every
 * failure is a miss: the cache costs speed when it is away, nothing else.
 */
export class RedisShelf {
  readonly #link: RedisLink
  readonly #prefix: string
  readonly #keptMs: number

  constructor(link: RedisLink, options: { readonly keyPrefix: string; readonly keptMs: number }) {
    this.#link = link
    this.#prefix = `${options.keyPrefix}:api:answer`
    this.#keptMs = options.keptMs
  }

  async get(key: AnswerKey): Promise<Answer | undefined> {
    const { client } = this.#link
    try {
      const found = await this.#link.run(() =>
        key.creator === undefined
          ? client.getBuffer(this.#key(key))
          : client.hgetBuffer(this.#key(key), key.id),
      )
      return found === null ? undefined : unpack(found)
    } catch {
      return undefined
    }
  }

  async put(key: AnswerKey, answer: Answer): Promise<void> {
    const { client } = this.#link
    const packed = Buffer.concat([Buffer.from(`${answer.beganAtMs}\n`), answer.body])
    try {
      await this.#link.run(async () => {
        const at = this.#key(key)
        if (key.creator === undefined) return await client.set(at, packed, 'PX', this.#keptMs)
        const [, kept] = await Promise.all([
          client.hset(at, key.id, packed),
          client.pexpire(at, this.#keptMs),
        ])
        return kept
      })
    } catch {
      // Whoever asks next makes it again.
    }
  }

  async drop(creator: string): Promise<void> {
    const { client } = this.#link
    try {
      await this.#link.run(() => client.unlink(this.#key({ id: '', creator })))
    } catch {
      // It is not read either while Redis is away, and it is compared with what was heard meanwhile when it is back.
    }
  }

  #key({ id, creator }: AnswerKey): string {
    // Ids hold what callers send; a digest bounds them.
    return creator === undefined
      ? `${this.#prefix}:${createHash('sha256').update(id).digest('base64url')}`
      : `${this.#prefix}:of:${creator}`
  }
}

function unpack(packed: Buffer): Answer | undefined {
  const end = packed.indexOf(10)
  const beganAtMs = Number(packed.subarray(0, end).toString())
  return end < 1 || !Number.isFinite(beganAtMs) ? undefined : new Answer(packed.subarray(end + 1), beganAtMs)
}
