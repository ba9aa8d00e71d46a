import { createHmac, timingSafeEqual } from 'node:crypto'
import { ApiProblem } from './problem.ts'

/** What stands in a cursor: the key of the last row, and the moment that the whole list is of. */
export interface Place {
  readonly key: readonly (string | number)[]
  /** Unix ms. */
  readonly asOfMs: number
}

const MAC_BYTES = 16
/** The longest id and a number, in base64. */
export const CURSOR_LENGTH_MAX = 1_024

/**
 * Cursors of keyset pages. One is signed together with the list it belongs to (route, filters, sort), so it cannot be made up,
 * changed, or used for another list.
 */
export class Cursors {
  readonly #secret: string | Buffer

  constructor(secret: string | Buffer) {
    this.#secret = secret
  }

  /** `list`: everything that the order and the choice of rows depend on. */
  write(list: unknown, { key, asOfMs }: Place): string {
    const payload = Buffer.from(JSON.stringify([asOfMs, ...key])).toString('base64url')
    return `${payload}.${this.#mac(list, payload).toString('base64url')}`
  }

  /** Throws ApiProblem `cursor_invalid`. */
  read(list: unknown, cursor: string): Place {
    const [payload = '', mac = '', ...rest] = cursor.length > CURSOR_LENGTH_MAX ? [] : cursor.split('.')
    const given = Buffer.from(mac, 'base64url')
    const isOurs = given.length === MAC_BYTES && timingSafeEqual(given, this.#mac(list, payload))
    if (!isOurs || rest.length > 0)
      throw new ApiProblem(
        'cursor_invalid',
        'The cursor is not one that this list gave out; send it with the same filters and sort, or begin without one.',
      )
    const [asOfMs, ...key] = JSON.parse(Buffer.from(payload, 'base64url').toString()) as [
      number,
      ...(string | number)[],
    ]
    return { asOfMs, key }
  }

  #mac(list: unknown, payload: string): Buffer {
    const text = `${JSON.stringify(list)}\n${payload}`
    return createHmac('sha256', this.#secret).update(text).digest().subarray(0, MAC_BYTES)
  }
}
