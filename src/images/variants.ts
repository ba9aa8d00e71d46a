import { MillraceError } from '../job/errors.ts'

/** One size that every picture is stored in. */
export interface Variant {
  /** Part of the key; one meaning for ever: objects are immutable, so another size or quality needs another name. */
  readonly name: string
  readonly width: number
  readonly height: number
  /** `inside`: the whole picture, at most this large. `cover`: this shape, cut from the middle. Neither ever enlarges. */
  readonly fit: 'inside' | 'cover'
  readonly format: 'jpeg' | 'webp' | 'avif'
  /** 1 to 100, on the format's own scale. */
  readonly quality: number
}

export interface Size {
  readonly width: number
  readonly height: number
}

/** One variant to make, with its exact size. */
export interface VariantStep extends Size {
  readonly variant: Variant
}

/** What a source has to become: scaled down once to `base`, from which all steps follow, largest first. */
export interface VariantPlan {
  readonly base: Size
  readonly steps: readonly VariantStep[]
}

export const DEFAULT_VARIANTS: readonly Variant[] = [
  { name: 'full', width: 800, height: 800, fit: 'inside', format: 'jpeg', quality: 85 },
  { name: 'thumb', width: 150, height: 150, fit: 'cover', format: 'jpeg', quality: 85 },
]

/** What a configured variant may be; the configuration's schema says the same of it. */
export const VARIANT_BOUNDS = {
  /** Part of the key: nothing that needs escaping, and no dot. */
  name: /^[a-z0-9][a-z0-9_-]{0,31}$/,
  /** 4,096: more than any screen shows, and 16 megapixels is as much as AVIF should be asked to encode. */
  sideMax: 4096,
  countMax: 8,
} as const

const FORMATS = {
  jpeg: { extension: 'jpg', contentType: 'image/jpeg' },
  webp: { extension: 'webp', contentType: 'image/webp' },
  avif: { extension: 'avif', contentType: 'image/avif' },
} as const

export function contentTypeOf(variant: Variant): string {
  return FORMATS[variant.format].contentType
}

/** Where a variant of the source with this SHA-256 (hex) is stored. */
export function keyOf(sha256: string, variant: Variant): string {
  return `pictures/${sha256.slice(0, 2)}/${sha256}/${variant.name}.${FORMATS[variant.format].extension}`
}

/** Throws MillraceError `VARIANTS_INVALID` with everything that is wrong about the configured variants. */
export function checkVariants(variants: readonly Variant[]): void {
  const wrong: string[] = []
  const { name: named, sideMax, countMax } = VARIANT_BOUNDS
  if (variants.length < 1 || variants.length > countMax)
    wrong.push(`${variants.length} variants; expected 1 to ${countMax}`)
  const seen = new Set<string>()
  for (const { name, width, height, quality } of variants) {
    if (!named.test(name)) wrong.push(`name ${JSON.stringify(name)}; expected ${named.source}`)
    if (seen.has(name)) wrong.push(`name ${name} twice; expected each once`)
    seen.add(name)
    for (const [side, px] of Object.entries({ width, height })) {
      if (!Number.isInteger(px) || px < 1 || px > sideMax)
        wrong.push(`${name}.${side}=${px}; expected whole pixels, 1 to ${sideMax}`)
    }
    if (!Number.isInteger(quality) || quality < 1 || quality > 100)
      wrong.push(`${name}.quality=${quality}; expected 1 to 100`)
  }
  if (wrong.length > 0)
    throw new MillraceError('VARIANTS_INVALID', `images.variants: ${wrong.join('; ')}.`, { kind: 'usage' })
}

/** The exact size of a variant made from a source (already turned upright) of that size. */
export function sizeOf(variant: Variant, source: Size): Size {
  if (variant.fit === 'inside') return scaledBy(source, scaleNeeded(variant, source))
  // The box itself or, where the source is smaller than the box, the largest box of the same shape that it fills.
  const shrink = Math.min(1, source.width / variant.width, source.height / variant.height)
  return scaledBy(variant, shrink)
}

/**
 * Decode once, then downwards: `base` is the whole source at the largest scale that any variant needs (never above 1), the
 * steps are sorted so that each can be made from what the ones before it left over.
 */
export function planOf(variants: readonly Variant[], source: Size): VariantPlan {
  const scaled = variants.map((variant) => ({ variant, scale: scaleNeeded(variant, source) }))
  scaled.sort((a, b) => b.scale - a.scale)
  return {
    base: scaledBy(source, scaled[0]?.scale ?? 1),
    steps: scaled.map(({ variant }) => ({ variant, ...sizeOf(variant, source) })),
  }
}

/** How much of the source's scale is left in a variant, 0 to 1. */
function scaleNeeded(variant: Variant, source: Size): number {
  const [x, y] = [variant.width / source.width, variant.height / source.height]
  return Math.min(1, variant.fit === 'inside' ? Math.min(x, y) : Math.max(x, y))
}

function scaledBy({ width, height }: Size, scale: number): Size {
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) }
}
