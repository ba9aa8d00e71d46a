import { z } from 'zod'
import { DEFAULT_VARIANTS, VARIANT_BOUNDS } from '../../images/variants.ts'
import { bytes, duration, text } from '../values.ts'

/** `images`: pictures and their variants. */
export const images = z.strictObject({
  enabled: z.boolean().default(true),
  threads: z.int().min(1).max(256).optional().describe('Worker threads. Default: one per core.'),
  bytes_max: bytes({ min: 1024, max: 1_000_000_000 }).prefault('20MB'),
  pixels_max: z.int().min(1).max(1e9).default(50_000_000),
  work_timeout: duration({ max: '10m' }).prefault('10s'),
  queued_bytes_max: bytes()
    .prefault('256MB')
    .describe('Downloaded and not yet stored; above it downloads wait.'),
  private_hosts: z
    .array(text)
    .default([])
    .describe('host:port that pictures may be fetched from although the address is private.'),
  optimise_coding: z
    .boolean()
    .default(false)
    .describe('Huffman optimisation of JPEG: smaller files for more CPU.'),
  variants: z
    .array(
      z.strictObject({
        name: z.string().regex(VARIANT_BOUNDS.name),
        width: z.int().min(1).max(VARIANT_BOUNDS.sideMax),
        height: z.int().min(1).max(VARIANT_BOUNDS.sideMax),
        fit: z.enum(['inside', 'cover']).default('inside'),
        format: z.enum(['jpeg', 'webp', 'avif']).default('jpeg'),
        quality: z.int().min(1).max(100).default(85),
      }),
    )
    .min(1)
    .max(VARIANT_BOUNDS.countMax)
    .refine((variants) => new Set(variants.map(({ name }) => name)).size === variants.length, {
      error: 'expected each name once',
    })
    .default(DEFAULT_VARIANTS.map((variant) => ({ ...variant }))),
})
