import type { Variant } from './variants.ts'

/** What is allowed to go into the codec, and how long it may stay. */
export interface DecodeLimits {
  /** Width × height of one frame. */
  readonly pixelsMax: number
  /** The same for AVIF and HEIF, which decode slowest. */
  readonly heifPixelsMax: number
  /** Frames of an animation. Only the first is decoded, but the header of each is read. */
  readonly pagesMax: number
  /** After this the codec is asked to stop. Not all of them listen. */
  readonly timeoutMs: number
}

export interface EncoderOptions {
  /** Optimal Huffman tables: 5% smaller JPEGs for a quarter more CPU. */
  readonly jpegOptimiseCoding: boolean
  /** 0 (fast) to 6. */
  readonly webpEffort: number
  /** 0 (fast) to 9. */
  readonly avifEffort: number
}

export const DEFAULT_LIMITS: DecodeLimits = {
  pixelsMax: 50_000_000,
  heifPixelsMax: 16_000_000,
  pagesMax: 1_000,
  timeoutMs: 10_000,
}

export const DEFAULT_ENCODER: EncoderOptions = { jpegOptimiseCoding: false, webpEffort: 2, avifEffort: 2 }

/** One source and everything that shall be made of it. Sent to a worker; `bytes` is transferred, not copied. */
export interface ResizeTask {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly variants: readonly Variant[]
  readonly limits: DecodeLimits
  readonly encoder: EncoderOptions
}

export interface MadeVariant {
  readonly variant: Variant
  readonly width: number
  readonly height: number
  /** Transferred from the worker: the receiver's own. */
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** How long the steps took inside the worker. */
export interface ResizeTimings {
  readonly decodeMs: number
  readonly encodeMs: number
}

export type ResizeResult =
  | {
      readonly status: 'made'
      readonly made: readonly MadeVariant[]
      readonly thumbhash: string
      readonly timings: ResizeTimings
    }
  | {
      readonly status: 'rejected'
      readonly why: string
      /** Our own failure (its thread died): another try may do better. */
      readonly passing?: true
    }
