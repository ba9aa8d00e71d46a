import sharp from 'sharp'
import { hash32, unit } from './hash.ts'

/** Pictures that are really drawn; every other one is one of these with a comment of its own inside. */
const DRAWN = 64
const SIDE = 1080
/** Drawn small and enlarged: the noise is what gives a JPEG of about 200 KB, as photographs of that size have. */
const SKETCH = 360
const MODIFIED_FROM_MS = Date.UTC(2025, 0, 1)
const YEAR_S = 31_536_000

export interface Picture {
  readonly body: Buffer
  readonly etag: string
  readonly lastModified: string
}

/**
 * JPEGs of 1080 × 1080, the same for the same seed and path. 64 of them are drawn, when first asked for, and kept (about 15 MB);
 * a picture is one of those with its own path as a comment, so its bytes are its own although it costs one copy. A share of all
 * (`stockShare`) has no such comment: many creators have those in common, byte for byte.
 */
export class Pictures {
  readonly #seed: number
  readonly #stockShare: number
  readonly #drawn = new Map<number, Promise<Buffer>>()

  constructor(options: { seed: number; stockShare: number }) {
    this.#seed = options.seed
    this.#stockShare = options.stockShare
  }

  /** Validators of a picture, without its body: cheap. */
  validators(path: string): { etag: string; lastModified: string } {
    const key = this.#key(path)
    const seconds = hash32(key, 3) % YEAR_S
    return {
      etag: `"${this.#seed.toString(36)}-${key.toString(36)}"`,
      lastModified: new Date(MODIFIED_FROM_MS + seconds * 1000).toUTCString(),
    }
  }

  async picture(path: string): Promise<Picture> {
    const key = this.#key(path)
    const drawing = await this.#draw(key % DRAWN)
    const stock = unit(key, 4) < this.#stockShare
    const body = stock ? drawing : withComment(drawing, `millrace simulator ${this.#seed} ${path}`)
    return { body, ...this.validators(path) }
  }

  #key(path: string): number {
    const words: number[] = [this.#seed]
    for (let at = 0; at < path.length; at += 1) words.push(path.charCodeAt(at))
    return hash32(...words)
  }

  #draw(number: number): Promise<Buffer> {
    const known = this.#drawn.get(number)
    if (known !== undefined) return known
    const drawing = draw(this.#seed, number)
    this.#drawn.set(number, drawing)
    return drawing
  }
}

/** Soft coloured waves with grain. */
async function draw(seed: number, number: number): Promise<Buffer> {
  const pixels = Buffer.allocUnsafe(SKETCH * SKETCH * 3)
  const waves = [0, 1, 2].map((channel) => ({
    x: 2 + 10 * unit(seed, number, channel, 1),
    y: 2 + 10 * unit(seed, number, channel, 2),
    phase: 2 * Math.PI * unit(seed, number, channel, 3),
  }))
  let grain = hash32(seed, number, 9)
  let at = 0
  for (let y = 0; y < SKETCH; y += 1) {
    for (let x = 0; x < SKETCH; x += 1) {
      for (const wave of waves) {
        // xorshift32 (Marsaglia 2003): fast, and the same everywhere.
        grain ^= grain << 13
        grain ^= grain >>> 17
        grain ^= grain << 5
        const light = Math.sin(wave.phase + (wave.x * x + wave.y * y) / SKETCH) * 80
        pixels[at] = 128 + light + (grain & 31) - 16
        at += 1
      }
    }
  }
  return sharp(pixels, { raw: { width: SKETCH, height: SKETCH, channels: 3 } })
    .resize(SIDE, SIDE, { kernel: 'cubic' })
    .jpeg({ quality: 88 })
    .toBuffer()
}

/** Puts a comment segment (ITU-T T.81, marker FFFE) behind the start of image. */
function withComment(jpeg: Buffer, text: string): Buffer {
  const comment = Buffer.from(text, 'utf8')
  const head = Buffer.from([0xff, 0xd8, 0xff, 0xfe, 0, 0])
  head.writeUInt16BE(comment.length + 2, 4)
  return Buffer.concat([head, comment, jpeg.subarray(2)])
}
