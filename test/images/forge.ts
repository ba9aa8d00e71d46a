import { crc32, deflateSync } from 'node:zlib'

// Picture files put together from their parts, for what no encoder would write.

const PNG_SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')

export interface PngHeader {
  readonly width: number
  readonly height: number
  readonly depth?: number
  /** 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. */
  readonly colour?: number
  readonly interlaced?: boolean
}

export function pngChunk(type: string, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data])
  return Buffer.concat([u32(data.length), named, u32(crc32(named))])
}

export function pngHeader({ width, height, depth = 8, colour = 2, interlaced = false }: PngHeader): Buffer {
  return pngChunk(
    'IHDR',
    Buffer.concat([u32(width), u32(height), bytes(depth, colour, 0, 0, Number(interlaced))]),
  )
}

/** A PNG of these chunks between signature and IEND. */
export function png(...chunks: readonly Uint8Array[]): Buffer {
  return Buffer.concat([PNG_SIGNATURE, ...chunks, pngChunk('IEND')])
}

/** Rows of one byte over and over, each with its filter (0: none). */
export function pngRows(
  { width, height, depth = 8, colour = 2 }: PngHeader,
  { fill = 0, filter = 0 }: { fill?: number; filter?: number } = {},
): Buffer {
  const samples = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[colour] ?? 3
  const row = Buffer.alloc(1 + Math.ceil((width * samples * depth) / 8), fill)
  row[0] = filter
  return pngChunk('IDAT', deflateSync(Buffer.concat(Array.from({ length: height }, () => row))))
}

/** The whole of a plain PNG, with more chunks between header and rows. */
export function plainPng(header: PngHeader, ...between: readonly Uint8Array[]): Buffer {
  return png(pngHeader(header), ...between, pngRows(header))
}

/** A marker segment with its length. */
export function jpegSegment(marker: number, data: Uint8Array): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(data.length + 2)
  return Buffer.concat([bytes(0xff, marker), length, data])
}

/** The same JPEG with more behind its first marker. */
export function jpegWith(jpeg: Uint8Array, ...segments: readonly Uint8Array[]): Buffer {
  return Buffer.concat([jpeg.subarray(0, 2), ...segments, jpeg.subarray(2)])
}

/** The same JPEG without the segments of some markers. */
export function jpegWithout(jpeg: Buffer, ...markers: readonly number[]): Buffer {
  const parts = [jpeg.subarray(0, 2)]
  for (const { marker, from, to } of jpegSegments(jpeg)) {
    if (!markers.includes(marker)) parts.push(jpeg.subarray(from, to))
  }
  return Buffer.concat(parts)
}

/** Where the segments are; the last one, start of scan, reaches to the end of the file. */
export function jpegSegments(jpeg: Buffer): { marker: number; from: number; to: number }[] {
  const found: { marker: number; from: number; to: number }[] = []
  for (let at = 2; at + 4 <= jpeg.length; ) {
    const marker = jpeg[at + 1]!
    const to = marker === 0xda ? jpeg.length : at + 2 + jpeg.readUInt16BE(at + 2)
    found.push({ marker, from: at, to })
    at = to
  }
  return found
}

/** An EXIF segment whose first directory says this orientation. `next` is where it says the following directory is. */
export function exif({ orientation, next = 0 }: { orientation: number; next?: number }): Buffer {
  const tiff = Buffer.alloc(26)
  tiff.write('MM\0*', 'latin1')
  tiff.writeUInt32BE(8, 4)
  tiff.writeUInt16BE(1, 8)
  tiff.writeUInt16BE(0x0112, 10)
  tiff.writeUInt16BE(3, 12)
  tiff.writeUInt32BE(1, 14)
  tiff.writeUInt16BE(orientation, 18)
  tiff.writeUInt32BE(next, 22)
  return jpegSegment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), tiff]))
}

/** A JPEG's ICC profile, in one piece of `of`. */
export function iccSegment(profile: Uint8Array, { piece = 1, of = 1 } = {}): Buffer {
  return jpegSegment(0xe2, Buffer.concat([Buffer.from('ICC_PROFILE\0'), bytes(piece, of), profile]))
}

export interface GifFrame {
  readonly width: number
  readonly height: number
  readonly left?: number
}

/** One pixel of colour 0, in LZW codes of two bits: clear, 0, end. */
const LZW_PIXEL = [2, 2, 0x44, 0x01, 0]

/** A GIF of two colours with a screen of this size; every frame holds one pixel, whatever it says. */
export function gif(
  screen: { width: number; height: number },
  frames: readonly GifFrame[],
  data: readonly number[] = LZW_PIXEL,
): Buffer {
  const head = Buffer.concat([
    Buffer.from('GIF89a'),
    ...[screen.width, screen.height].map(u16le),
    bytes(0x80, 0, 0, 255, 0, 0, 0, 0, 255),
  ])
  const images = frames.map(({ width, height, left = 0 }) =>
    Buffer.concat([
      bytes(0x21, 0xf9, 4, 0, 1, 0, 0, 0, 0x2c),
      ...[left, 0, width, height].map(u16le),
      bytes(0, ...data),
    ]),
  )
  return Buffer.concat([head, ...images, bytes(0x3b)])
}

/** A RIFF container: four letters, then data padded to an even length. */
export function webp(...chunks: readonly (readonly [string, Uint8Array])[]): Buffer {
  const body = Buffer.concat([
    Buffer.from('WEBP'),
    ...chunks.flatMap(([name, data]) => [
      Buffer.from(name),
      u32le(data.length),
      data,
      Buffer.alloc(data.length % 2),
    ]),
  ])
  return Buffer.concat([Buffer.from('RIFF'), u32le(body.length), body])
}

/** The data of one chunk of a WebP, without name and length. */
export function webpChunk(file: Buffer, name: string): Buffer {
  for (let at = 12; at + 8 <= file.length; ) {
    const length = file.readUInt32LE(at + 4)
    if (file.toString('latin1', at, at + 4) === name) return file.subarray(at + 8, at + 8 + length)
    at += 8 + length + (length % 2)
  }
  throw new Error(`no ${name} in this WebP`)
}

/** An extended header: flags (2 animation, 4 XMP, 8 EXIF, 16 alpha, 32 ICC) and the size of the canvas. */
export function vp8x(flags: number, width: number, height: number): readonly [string, Buffer] {
  const data = Buffer.alloc(10)
  data[0] = flags
  data.writeUIntLE(width - 1, 4, 3)
  data.writeUIntLE(height - 1, 7, 3)
  return ['VP8X', data]
}

/** An animation's frame that holds a whole still picture's chunk. */
export function anmf(still: Buffer, name: 'VP8 ' | 'VP8L', size: number): readonly [string, Buffer] {
  const data = webpChunk(still, name)
  const head = Buffer.alloc(16)
  head.writeUIntLE(size - 1, 6, 3)
  head.writeUIntLE(size - 1, 9, 3)
  head.writeUIntLE(40, 12, 3)
  return [
    'ANMF',
    Buffer.concat([head, Buffer.from(name), u32le(data.length), data, Buffer.alloc(data.length % 2)]),
  ]
}

/** The same bytes with some of them replaced. */
export function patched(source: Buffer, at: number, ...values: readonly number[]): Buffer {
  const changed = Buffer.from(source)
  changed.set(values, at)
  return changed
}

export function bytes(...values: readonly number[]): Buffer {
  return Buffer.from(values)
}

export function u32(value: number): Buffer {
  const four = Buffer.alloc(4)
  four.writeUInt32BE(value)
  return four
}

function u32le(value: number): Buffer {
  return u32(value).reverse()
}

function u16le(value: number): Buffer {
  return bytes(value & 0xff, value >> 8)
}
