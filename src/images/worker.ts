import { move, transferableSymbol, valueSymbol } from 'piscina'
import sharp, { type Sharp, type SharpOptions } from 'sharp'
import { messageOf } from '../job/errors.ts'
import { ordinaryJpegSize } from './jpeg-size.ts'
import { countParts } from './parts-count.ts'
import { pixelChunksOf } from './png-chunks.ts'
import type { DecodeLimits, EncoderOptions, MadeVariant, ResizeResult, ResizeTask } from './resize-task.ts'
import { type SourceFormat, sniff } from './sniff.ts'
import { type Pixels, thumbhashOf } from './thumbhash.ts'
import { planOf, type Size, type Variant } from './variants.ts'

// Parallelism comes from several pictures at once, not from several threads a picture; and inputs never repeat. Which loaders may
// see a stranger's bytes has been settled before this thread started (see loaders).
sharp.concurrency(1)
sharp.cache(false)

/** JPEG's own bound; what is longer is no photograph. */
const SIDE_MAX = 65_535

/** Photographs have under 100; random bytes behind one look like 1,000 in 4 MB. */
const SEGMENTS_MAX = 20_000

/** Scans × pixels, about 3 s. Progressive pictures have 10 scans or so: 0.5 × 10⁹ at the bound of 50 megapixels. */
const SCANNED_PIXELS_MAX = 5_000_000_000

/** Proves that the native library loads; answers its version. */
export function probe(): string {
  return sharp.versions.vips
}

/**
 * The task of the pool: one source, all its variants, from one decode. Resolves with `rejected` for whatever is wrong with the
 * bytes; throws only for errors of our own. The buffers of the result are moved to the receiver.
 */
export default async function resize(task: ResizeTask): Promise<ResizeResult> {
  try {
    return movedOut(await made(task))
  } catch (error) {
    if (error instanceof Refused) return { status: 'rejected', why: error.message }
    // sharp reports the codecs' complaints as plain errors; a more special one is ours.
    if (!(error instanceof Error) || error.constructor !== Error) throw error
    return { status: 'rejected', why: `cannot be decoded: ${complaintOf(error)}` }
  }
}

async function made(task: ResizeTask): Promise<ResizeResult & { status: 'made' }> {
  const startMs = performance.now()
  const options: SharpOptions = {
    failOn: 'warning',
    limitInputPixels: task.limits.pixelsMax,
    pages: 1,
    autoOrient: true,
  }
  const bytes = Buffer.from(task.bytes.buffer, task.bytes.byteOffset, task.bytes.byteLength)
  const format = formatOf(bytes)
  const input = format === 'png' ? pixelChunksOf(bytes) : bytes
  const plan = planOf(task.variants, await checkedSize(format, input, options, task.limits))
  // To sRGB, without metadata, at most 8 bits: sharp's defaults, except that grey stays grey unless asked.
  const decoded = sharp(input, options)
    .timeout({ seconds: Math.ceil(task.limits.timeoutMs / 1000) })
    .resize({ ...plan.base, fit: 'fill', kernel: 'lanczos3' })
    .toColourspace('srgb')
  let whole = await pixelsOf(decoded)
  giveBack(task.bytes)
  const decodedMs = performance.now()

  const variants: MadeVariant[] = []
  for (const [index, { variant, width, height }] of plan.steps.entries()) {
    let image = imageOf(whole)
    if (variant.fit === 'cover') {
      image = image.resize({ width, height, fit: 'cover', kernel: 'lanczos3' })
    } else if (width !== whole.width || height !== whole.height) {
      image = image.resize({ width, height, fit: 'fill', kernel: 'lanczos3' })
      // What follows is smaller still: it is made from this, not from the larger one again.
      if (index < plan.steps.length - 1) {
        const smaller = await pixelsOf(image)
        giveBack(whole.data)
        whole = smaller
        image = imageOf(whole)
      }
    }
    const encoded = await encodedAs(variant, image, task.encoder).toBuffer()
    // A copy that can be transferred: toBuffer's own memory cannot, and toUint8Array leaks its whole output (sharp 0.35).
    variants.push({ variant, width, height, bytes: new Uint8Array(encoded) })
    giveBack(encoded)
  }
  const thumbhash = thumbhashOf(whole)
  giveBack(whole.data)
  return {
    status: 'made',
    made: variants,
    thumbhash,
    timings: { decodeMs: decodedMs - startMs, encodeMs: performance.now() - decodedMs },
  }
}

/** What the bytes are, when it is something that is decoded at all. */
function formatOf(bytes: Buffer): SourceFormat {
  const sniffed = sniff(bytes)
  if ('other' in sniffed) throw new Refused(`is ${sniffed.other}; expected JPEG, PNG, WebP, GIF or AVIF`)
  return sniffed.format
}

/** The upright size, read from the header alone, once everything in the header is within bounds. */
async function checkedSize(
  format: SourceFormat,
  input: Buffer,
  options: SharpOptions,
  limits: DecodeLimits,
): Promise<Size> {
  const parts = countParts(format, input)
  if (parts.segments > SEGMENTS_MAX)
    throw new Refused(`has ${parts.segments} segments; expected at most ${SEGMENTS_MAX}`)
  refuseFrames(parts.frames, limits.pagesMax)
  // The bound on pixels is ours to report: sharp's message does not say how many there were.
  const { width, height, pages } = ordinaryJpeg(format, input) ?? (await headerOf(input, options))
  const pixelsMax = format === 'avif' || format === 'heif' ? limits.heifPixelsMax : limits.pixelsMax
  if (width * height > pixelsMax) {
    throw new Refused(
      `has ${width} × ${height} pixels; expected at most ${pixelsMax / 1_000_000} megapixels for ${format}`,
    )
  }
  // Few pixels may still be a very long line, of which a crop would need every one.
  if (Math.max(width, height) > SIDE_MAX)
    throw new Refused(`is ${width} × ${height}; expected sides of at most ${SIDE_MAX}`)
  if (parts.scans * width * height > SCANNED_PIXELS_MAX)
    throw new Refused(
      `has ${parts.scans} scans of ${width} × ${height} pixels; expected fewer for as many pixels`,
    )
  refuseFrames(pages, limits.pagesMax)
  return { width, height }
}

interface Header extends Size {
  readonly pages: number
}

function ordinaryJpeg(format: SourceFormat, input: Buffer): Header | undefined {
  const size = format === 'jpeg' ? ordinaryJpegSize(input) : undefined
  return size === undefined ? undefined : { ...size, pages: 1 }
}

async function headerOf(input: Buffer, options: SharpOptions): Promise<Header> {
  const { autoOrient, pages = 1 } = await sharp(input, { ...options, limitInputPixels: false }).metadata()
  return { ...autoOrient, pages }
}

function refuseFrames(frames: number, framesMax: number): void {
  if (frames > framesMax) throw new Refused(`has ${frames} frames; expected at most ${framesMax}`)
}

/** What the codec says is wrong, without all the places where it looked for more bytes. */
function complaintOf({ message }: Error): string {
  return messageOf(message.replaceAll(/source: bad seek to \d+\s*/g, ''), 200).replace(/:$/, '')
}

/**
 * Gives memory back at once, which must not be looked at afterwards. Megabytes that wait for the collector make it run every few
 * pictures, over the whole heap: 2–3 ms of CPU a picture.
 */
function giveBack({ buffer, byteLength }: Uint8Array): void {
  // A slice of Node's own pool, which others use too, is smaller than what it is in.
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}

async function pixelsOf(image: Sharp): Promise<Pixels> {
  const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  if (info.channels !== 3 && info.channels !== 4)
    throw new Refused(`has ${info.channels} channels after decoding`)
  return { data, width: info.width, height: info.height, channels: info.channels }
}

function imageOf({ data, width, height, channels }: Pixels): Sharp {
  return sharp(data, { raw: { width, height, channels } })
}

function encodedAs(variant: Variant, image: Sharp, encoder: EncoderOptions): Sharp {
  const { quality } = variant
  switch (variant.format) {
    case 'jpeg':
      // JPEG has no transparency; pages are white more often than black.
      return image
        .flatten({ background: '#fff' })
        .jpeg({ quality, optimiseCoding: encoder.jpegOptimiseCoding })
    case 'webp':
      return image.webp({ quality, effort: encoder.webpEffort })
    case 'avif':
      return image.avif({ quality, effort: encoder.avifEffort })
  }
}

/** Marks the variants' buffers as transferred, all of them at once: Piscina's `move` alone takes a single one. */
function movedOut(result: ResizeResult & { status: 'made' }): ResizeResult {
  const transferable = {
    [transferableSymbol]: result.made.map(({ bytes }) => bytes.buffer),
    [valueSymbol]: result,
  }
  return move(transferable as unknown as Parameters<typeof move>[0]) as unknown as ResizeResult
}

/** The picture is understood well enough to say in our own words why it will not do. */
class Refused extends Error {}
