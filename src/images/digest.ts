import { createHash, hash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'

/** 1 MB takes about 0.7 ms: the longest the event loop is held. */
const PIECE_BYTES = 1_000_000

/** SHA-256 in hex. Large bodies are hashed in pieces, with the event loop free in between. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  if (bytes.length <= PIECE_BYTES) return hash('sha256', bytes, 'hex')
  const digest = createHash('sha256')
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    digest.update(bytes.subarray(at, at + PIECE_BYTES))
    await setImmediate()
  }
  return digest.digest('hex')
}
