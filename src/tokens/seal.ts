import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import type { Credential } from '../job/credential.ts'

const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16

/**
 * Seals tokens with a key that follows from the credential they were fetched with (HKDF, RFC 5869): who has the credential could
 * fetch a token anyway, and nobody else can read what lies in Redis.
 */
export class Seal {
  /** Tells a credential from another without telling what it is; a changed secret is another credential. */
  readonly fingerprint: string
  readonly #key: Buffer

  constructor(platform: string, { value }: Credential) {
    const secret = Buffer.from(JSON.stringify([platform, value]))
    this.#key = Buffer.from(hkdfSync('sha256', secret, 'millrace', 'token', 32))
    this.fingerprint = createHmac('sha256', secret).update('fingerprint').digest('hex').slice(0, 16)
  }

  close(text: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES })
    const sealed = [cipher.update(text, 'utf8'), cipher.final()]
    return Buffer.concat([nonce, ...sealed, cipher.getAuthTag()])
  }

  /** Null for what was not sealed with the same credential. */
  open(sealed: Buffer): string | null {
    if (sealed.length < NONCE_BYTES + TAG_BYTES) return null
    const decipher = createDecipheriv(CIPHER, this.#key, sealed.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
    try {
      return (
        decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
      )
    } catch {
      return null
    }
  }
}
