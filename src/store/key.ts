import { MillraceError } from '../job/errors.ts'
import type { ObjectInfo, ObjectMeta } from '../job/store.ts'

/** S3 allows 1,024 bytes; folders on common file systems allow 255 a name. */
const KEY_LENGTH_MAX = 1000
const SEGMENT_LENGTH_MAX = 200
/** S3 allows 2 KB of user metadata, names included. */
const METADATA_BYTES_MAX = 2000

/**
 * Throws MillraceError `STORE_KEY_INVALID` unless `key` is one that every store accepts: relative, `/`-separated, segments of
 * ASCII letters, digits and `._=+@,~-`, none of them starting with a dot. So no key can leave the store's folder, none can
 * collide with its bookkeeping, and none needs escaping in a URL path.
 */
export function checkKey(key: string): void {
  const sound =
    key.length > 0 &&
    key.length <= KEY_LENGTH_MAX &&
    key
      .split('/')
      .every((segment) => segment.length <= SEGMENT_LENGTH_MAX && /^[\w=+@,~-][\w.=+@,~-]*$/.test(segment))
  if (sound) return
  throw new MillraceError(
    'STORE_KEY_INVALID',
    `Object key ${JSON.stringify(key.slice(0, 80))}: expected a relative, "/"-separated path of letters, digits and ._=+@,~- ` +
      `without a leading dot, at most ${KEY_LENGTH_MAX} characters.`,
  )
}

/** Throws MillraceError `STORE_META_INVALID` unless every store can keep `meta`: names in lower case, values printable ASCII. */
export function checkMeta(meta: ObjectMeta): void {
  const headers = [meta.contentType, meta.cacheControl]
  let bytes = 0
  for (const [name, value] of Object.entries(meta.metadata)) {
    if (!/^[a-z0-9-]{1,64}$/.test(name)) throw invalidMeta(`name ${JSON.stringify(name.slice(0, 80))}`)
    headers.push(value)
    bytes += name.length + value.length
  }
  for (const value of headers) {
    if (!/^[\x20-\x7e]*$/.test(value) || value !== value.trim())
      throw invalidMeta(`value ${JSON.stringify(value.slice(0, 80))}`)
  }
  if (bytes > METADATA_BYTES_MAX) throw invalidMeta(`${bytes} bytes`)
}

function invalidMeta(found: string): MillraceError {
  return new MillraceError(
    'STORE_META_INVALID',
    `Object metadata: found ${found}; expected lower-case names (a-z, 0-9, -), printable ASCII values, at most ${METADATA_BYTES_MAX} bytes.`,
  )
}

/** What `head` of our stores answers beyond the port: the metadata given to `put`. */
export interface ObjectHead extends ObjectInfo {
  readonly contentType: string
  readonly metadata: Readonly<Record<string, string>>
}

/** The metadata of a head, empty when the store does not tell it. */
export function metadataOf(info: ObjectInfo): Readonly<Record<string, string>> {
  return 'metadata' in info ? (info as ObjectHead).metadata : {}
}
