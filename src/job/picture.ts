import type { Steps } from './steps.ts'
/** A picture that an adapter found and wants stored. */
export interface PictureRequest {
  readonly url: string
  /** `avatar`, or the id of the post it belongs to. */
  readonly subject: string
}

/** One stored size of a picture. */
export interface StoredVariant {
  readonly variant: string
  readonly key: string
  readonly width: number
  readonly height: number
  readonly bytes: number
}

/**
 * What became of a picture. `stored`: its variants are in the store (whether they had to be written now or were there).
 * `rejected`: it could not be had or is not one; the job goes on.
 */
export type PictureOutcome =
  | {
      readonly status: 'stored'
      readonly url: string
      readonly subject: string
      readonly sha256: string
      readonly thumbhash: string
      readonly variants: readonly StoredVariant[]
      /** True when nothing had to be resized: the bytes, or the URL's validator, were known. */
      readonly known: boolean
    }
  | { readonly status: 'rejected'; readonly url: string; readonly subject: string; readonly why: string }

/** Downloads, resizes and stores pictures. */
export interface PictureStage {
  /**
   * Resolves when the picture's variants are stored or it is rejected; never rejects for what the picture is. Waits
   * (back-pressure) while the stage is full or the store is away. Rejects only when `signal` is aborted.
   */
  process(request: PictureRequest, signal: AbortSignal, trace?: Steps): Promise<PictureOutcome>
  readonly healthy: boolean
  start(): Promise<void>
  stop(): Promise<void>
}

/** What the time series know of a stored object. */
export interface PictureRow extends StoredVariant {
  readonly platform: string
  readonly creatorId: string
  readonly subject: string
}

/** The rows of stored pictures, for whoever compares them with the store. */
export interface PictureRows {
  count(signal: AbortSignal): Promise<number>
  /** One row for each key from `from` up to but without `below`, by key. */
  between(
    range: { readonly from: string; readonly below: string },
    signal: AbortSignal,
  ): Promise<Map<string, PictureRow>>
}
