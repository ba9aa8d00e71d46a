export interface ObjectMeta {
  readonly contentType: string
  readonly cacheControl: string
  readonly metadata: Readonly<Record<string, string>>
}

export interface ObjectInfo {
  readonly key: string
  readonly bytes: number
  readonly modifiedAtMs: number
}

/** Where pictures are kept. Keys are relative, `/`-separated, without `..`; an object is written whole or not at all. */
export interface ObjectStore {
  /** Writes only when the key is absent; says which it was. Ownership of `body` stays with the caller. */
  put(key: string, body: Uint8Array, meta: ObjectMeta, signal?: AbortSignal): Promise<'written' | 'present'>
  head(key: string, signal?: AbortSignal): Promise<ObjectInfo | null>
  get(key: string, signal?: AbortSignal): Promise<Buffer | null>
  /** An address that opens the object for `expiresInS` seconds, or null where the store has no such thing. */
  presign(key: string, expiresInS: number): Promise<string | null>
  list(prefix: string, signal?: AbortSignal): AsyncIterable<ObjectInfo>
  /** Deleting what is absent is no error. */
  delete(key: string, signal?: AbortSignal): Promise<void>
  /** Proves that the store can be written to; rejects with ServiceAwayError or MillraceError and one clear line. */
  check(): Promise<void>
  stop(): Promise<void>
}
