import { randomBytes } from 'node:crypto'
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { MillraceError } from '../job/errors.ts'
import type { ObjectInfo, ObjectMeta, ObjectStore } from '../job/store.ts'
import { checkKey, checkMeta, type ObjectHead } from './key.ts'
import { isAbsent, isWriteConflict, statusOf, translated } from './s3-errors.ts'
import { presigned } from './s3-presign.ts'
import { Turns } from './turns.ts'

export interface S3StoreOptions {
  readonly bucket: string
  readonly region: string
  /** Scheme, host and port of an S3-compatible server; absent: AWS. */
  readonly endpoint?: string
  /** Bucket in the path instead of the host name. Default: true when `endpoint` is given, as most compatible servers want it. */
  readonly pathStyle?: boolean
  /** Absent: the SDK's own chain (environment, profile, container or instance role). */
  readonly credentials?: {
    readonly accessKeyId: string
    readonly secretAccessKey: string
    readonly sessionToken?: string
  }
  /** Requests at once. 8 uploads 130 pictures a second; at 50 the SDK's own work delayed the event loop by 100 ms (p99). */
  readonly requestsInFlightMax?: number
  /** To connect. Default 3,000. */
  readonly connectTimeoutMs?: number
  /** From sending to the answer, and between two pieces of a body. Default 10,000. */
  readonly timeoutMs?: number
  /** Tries of one call before the store counts as away. Default 3. */
  readonly attemptsMax?: number
  /** Keys asked for in one request of a list. Default 1,000, which is also the protocol's bound. */
  readonly listPageKeys?: number
}

/**
 * Objects in a bucket of S3 or of anything that speaks its protocol and honours `If-None-Match: *` on writes. The bucket must
 * exist. Integrity: the body's SHA-256 is part of the signature, so a damaged upload is refused.
 */
export class S3Store implements ObjectStore {
  readonly #client: S3Client
  readonly #bucket: string
  readonly #endpoint: string
  readonly #turns: Turns
  readonly #listPageKeys: number

  constructor(options: S3StoreOptions) {
    this.#bucket = options.bucket
    this.#endpoint = options.endpoint ?? `AWS ${options.region}`
    const inFlightMax = options.requestsInFlightMax ?? 8
    this.#turns = new Turns(inFlightMax)
    this.#listPageKeys = options.listPageKeys ?? 1_000
    const timeoutMs = options.timeoutMs ?? 10_000
    const agent = { keepAlive: true, maxSockets: inFlightMax }
    this.#client = new S3Client({
      region: options.region,
      ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
      forcePathStyle: options.pathStyle ?? options.endpoint !== undefined,
      ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
      maxAttempts: options.attemptsMax ?? 3,
      // The signed SHA-256 covers the body already, and several compatible servers refuse the newer checksum headers.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: options.connectTimeoutMs ?? 3_000,
        requestTimeout: timeoutMs,
        socketTimeout: timeoutMs,
        // Without this a time-out is only a warning on standard error.
        throwOnRequestTimeout: true,
        httpAgent: new HttpAgent(agent),
        httpsAgent: new HttpsAgent(agent),
      },
    })
  }

  async put(
    key: string,
    body: Uint8Array,
    meta: ObjectMeta,
    signal?: AbortSignal,
  ): Promise<'written' | 'present'> {
    checkKey(key)
    checkMeta(meta)
    const command = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Body: body,
      ContentLength: body.byteLength,
      ContentType: meta.contentType,
      CacheControl: meta.cacheControl,
      Metadata: { ...meta.metadata },
      IfNoneMatch: '*',
    })
    return this.#call(`write ${key}`, signal, async (options) => {
      try {
        await this.#client.send(command, options)
        return 'written'
      } catch (error) {
        if (statusOf(error) === 412) return 'present'
        // Another writer of the same key is under way; when it is done the object is there.
        if (isWriteConflict(error) && (await this.#isThere(key, options))) return 'present'
        throw error
      }
    })
  }

  async head(key: string, signal?: AbortSignal): Promise<ObjectHead | null> {
    checkKey(key)
    return this.#call(`look up ${key}`, signal, async (options) => {
      try {
        const found = await this.#client.send(
          new HeadObjectCommand({ Bucket: this.#bucket, Key: key }),
          options,
        )
        return {
          key,
          bytes: found.ContentLength ?? 0,
          modifiedAtMs: found.LastModified?.getTime() ?? 0,
          contentType: found.ContentType ?? 'application/octet-stream',
          metadata: found.Metadata ?? {},
        }
      } catch (error) {
        if (isAbsent(error)) return null
        throw error
      }
    })
  }

  async get(key: string, signal?: AbortSignal): Promise<Buffer | null> {
    checkKey(key)
    return this.#call(`read ${key}`, signal, async (options) => {
      try {
        const found = await this.#client.send(
          new GetObjectCommand({ Bucket: this.#bucket, Key: key }),
          options,
        )
        const body = await found.Body?.transformToByteArray()
        return body === undefined
          ? Buffer.alloc(0)
          : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
      } catch (error) {
        if (isAbsent(error)) return null
        throw error
      }
    })
  }

  /** An address that opens the object for `expiresInS` seconds (1 to 604,800, a week: the protocol's bound). */
  async presign(key: string, expiresInS: number): Promise<string> {
    checkKey(key)
    try {
      return await presigned(this.#client, { bucket: this.#bucket, key, expiresInS })
    } catch (error) {
      throw this.#asOurs(error, `sign an address for ${key}`)
    }
  }

  /** In the order of the keys' bytes. */
  async *list(prefix: string, signal?: AbortSignal): AsyncGenerator<ObjectInfo> {
    let token: string | undefined
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: prefix,
        MaxKeys: this.#listPageKeys,
        ...(token === undefined ? {} : { ContinuationToken: token }),
      })
      const page = await this.#call(`list ${prefix}`, signal, (options) =>
        this.#client.send(command, options),
      )
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        if (Key !== undefined)
          yield { key: Key, bytes: Size ?? 0, modifiedAtMs: LastModified?.getTime() ?? 0 }
      }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    checkKey(key)
    await this.#call(`delete ${key}`, signal, async (options) => {
      try {
        await this.#client.send(new DeleteObjectCommand({ Bucket: this.#bucket, Key: key }), options)
      } catch (error) {
        if (!isAbsent(error)) throw error
      }
    })
  }

  /** Writes and deletes a small object under `millrace-check/`. */
  async check(): Promise<void> {
    const key = `millrace-check/${randomBytes(8).toString('hex')}`
    await this.put(key, Buffer.from('millrace'), {
      contentType: 'text/plain',
      cacheControl: 'no-store',
      metadata: {},
    })
    await this.delete(key)
  }

  async stop(): Promise<void> {
    this.#client.destroy()
  }

  async #isThere(key: string, options: CallOptions): Promise<boolean> {
    try {
      await this.#client.send(new HeadObjectCommand({ Bucket: this.#bucket, Key: key }), options)
      return true
    } catch {
      return false
    }
  }

  async #call<T>(
    doing: string,
    signal: AbortSignal | undefined,
    work: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    try {
      return await this.#turns.run(() => work(signal === undefined ? {} : { abortSignal: signal }), signal)
    } catch (error) {
      // The SDK throws an AbortError of its own; callers wait for the reason they gave.
      if (signal?.aborted === true) throw signal.reason
      throw this.#asOurs(error, doing)
    }
  }

  #asOurs(error: unknown, doing: string): Error {
    if (error instanceof MillraceError) return error
    return translated(error, { doing, bucket: this.#bucket, endpoint: this.#endpoint })
  }
}

interface CallOptions {
  readonly abortSignal?: AbortSignal
}
