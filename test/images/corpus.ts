import { deflateSync, gzipSync } from 'node:zlib'
import sharp from 'sharp'
import {
  anmf,
  bytes,
  exif,
  gif,
  iccSegment,
  jpegSegment,
  jpegSegments,
  jpegWith,
  jpegWithout,
  patched,
  plainPng,
  png,
  pngChunk,
  pngHeader,
  pngRows,
  u32,
  vp8x,
  webp,
  webpChunk,
} from './forge.ts'
import { drawn, withFrameHeader } from './sources.ts'

/** A hostile or odd file: how it begins to be made, and what has to come of it: the size of `full`, or why not. */
export interface Odd {
  readonly name: string
  readonly file: Buffer
  readonly outcome: string | RegExp
}

const PIXEL = { width: 1, height: 1 }
const MEGABYTES = Buffer.alloc(60_000, 'metadata ')

/** Everything, in groups. Made by code: nothing here was ever a stranger's file. */
export async function corpus(): Promise<readonly Odd[]> {
  const groups = [bombs(), jpegs(), pngs(), gifs(), webps(), isoMedia(), polyglots(), otherKinds()]
  return (await Promise.all(groups)).flatMap((group) =>
    Object.entries(group).map(([name, [file, outcome]]) => ({ name, file, outcome })),
  )
}

type Group = Record<string, readonly [Buffer, string | RegExp]>

async function bombs(): Promise<Group> {
  const progressive = await drawn(64, 64).jpeg({ progressive: true }).toBuffer()
  const lossless = await drawn(8, 8).webp({ lossless: true }).toBuffer()
  const vast = { width: 30_000, height: 30_000 }
  const deflated = Buffer.concat([Buffer.from('a\0\0'), deflateSync(Buffer.alloc(7_900_000, 'a'))])
  const [text, profile] = [pngChunk('zTXt', deflated), pngChunk('iCCP', deflated)]
  const letters = Buffer.alloc(1_000_000, 'b')
  const nested = '<g>'.repeat(100_000)
  const laughs = Array.from({ length: 9 }, (_, n) => `<!ENTITY l${n + 1} "${`&l${n};`.repeat(10)}">`).join('')
  return {
    'PNG of 30,000² in 96 bytes': [plainPngOf(vast), /has 30000 × 30000 pixels; expected at most 50/],
    'PNG one row over the bound': [plainPngOf({ width: 7_000, height: 7_143 }), /has 7000 × 7143 pixels/],
    'PNG of 49 megapixels of nothing': [plainPng({ width: 7_000, height: 7_000 }), '800x800'],
    'PNG whose sides overflow 32 bits': [
      plainPngOf({ width: 0x7fffffff, height: 0x7fffffff }),
      /Input buffer has corrupt header/,
    ],
    'PNG with a profile of 200 MB, deflated': [
      plainPng(
        PIXEL,
        pngChunk('iCCP', Buffer.concat([Buffer.from('a\0\0'), deflateSync(Buffer.alloc(200_000_000))])),
      ),
      '1x1',
    ],
    'PNG with text of 200 MB, deflated': [
      plainPng(
        PIXEL,
        pngChunk('zTXt', Buffer.concat([Buffer.from('a\0\0'), deflateSync(Buffer.alloc(200_000_000))])),
      ),
      '1x1',
    ],
    'PNG with 1,000 texts of 8 MB, deflated': [plainPng(PIXEL, ...Array<Buffer>(1_000).fill(text)), '1x1'],
    'PNG with 19 texts of 1 MB': [
      plainPng(
        PIXEL,
        ...Array<Buffer>(19).fill(pngChunk('tEXt', Buffer.concat([Buffer.from('a\0'), letters]))),
      ),
      '1x1',
    ],
    'PNG with 1,000 profiles of 8 MB, deflated': [
      plainPng(PIXEL, ...Array<Buffer>(1_000).fill(profile)),
      '1x1',
    ],
    'PNG with a text that ends behind the file': [
      plainPng(PIXEL, patched(pngChunk('tEXt', letters), 0, 0x7f)),
      /cannot be decoded/,
    ],
    'PNG with 50,000 comments': [
      plainPng(PIXEL, ...Array.from({ length: 50_000 }, () => pngChunk('tEXt', Buffer.from('a\0b')))),
      '1x1',
    ],
    'GIF of a pixel on a screen of 65,535²': [gif({ width: 65_535, height: 65_535 }, [PIXEL]), '1x1'],
    'GIF of a pixel on a screen of 7,000²': [gif({ width: 7_000, height: 7_000 }, [PIXEL]), '1x1'],
    'GIF of 20,000 frames': [
      gif(PIXEL, Array(20_000).fill(PIXEL)),
      /has 20000 frames; expected at most 1000/,
    ],
    'GIF of 1,001 frames': [gif(PIXEL, Array(1_001).fill(PIXEL)), /has 1001 frames/],
    'GIF of 1,000 frames': [gif(PIXEL, Array(1_000).fill(PIXEL)), '1x1'],
    'WebP, lossless, of 16,384² in 100 bytes': [
      webp(['VP8L', patched(webpChunk(lossless, 'VP8L'), 1, 0xff, 0xff, 0xff, 0x0f)]),
      /webp: bad image dimensions/,
    ],
    'WebP with a canvas of 16,384² and small frames': [
      webp(vp8x(2, 16_384, 16_384), ['ANIM', Buffer.alloc(6)], anmf(lossless, 'VP8L', 8)),
      /webp: bad image dimensions/,
    ],
    'JPEG of 65,500² whose data is that of 64²': [
      withFrameHeader(progressive, { width: 65_500, height: 65_500 }),
      /has 65500 × 65500 pixels/,
    ],
    'JPEG of 800 scans over 48 megapixels': [
      scans(6_900, 800),
      /has 800 scans of 6900 × 6900 pixels; expected fewer for as m/,
    ],
    'JPEG of 800 scans over 64²': [scans(64, 800), '64x64'],
    'JPEG of 50 scans over 64²': [scans(64, 50), '64x64'],
    'TIFF with forged sizes': [
      Buffer.concat([
        Buffer.from('II*\0'),
        bytes(8, 0, 0, 0, 2, 0),
        bytes(
          0,
          1,
          4,
          0,
          1,
          0,
          0,
          0,
          255,
          255,
          255,
          127,
          1,
          1,
          4,
          0,
          1,
          0,
          0,
          0,
          255,
          255,
          255,
          127,
          0,
          0,
          0,
          0,
        ),
      ]),
      /is a TIFF/,
    ],
    'TIFF, big': [Buffer.from('II+\0\x08\0\0\0', 'latin1'), /is a TIFF/],
    'SVG of 100,000 nested groups': [
      Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">${nested}`),
      /is an SVG/,
    ],
    'SVG that laughs a billion times': [
      Buffer.from(`<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY l0 "ha">${laughs}]><svg>&l9;</svg>`),
      /is an SVG/,
    ],
    'SVG that includes a file': [
      Buffer.from('<?xml version="1.0"?><svg xmlns:xlink="x"><image xlink:href="file:///etc/passwd"/></svg>'),
      /is an SVG/,
    ],
    'SVG, gzipped': [gzipSync('<svg/>'), /is gzip data/],
    'gzip of 50 MB of zeroes': [gzipSync(Buffer.alloc(50_000_000)), /is gzip data/],
  }
}

async function jpegs(): Promise<Group> {
  const jpeg = await drawn(300, 200).jpeg().toBuffer()
  const progressive = await drawn(300, 200).jpeg({ progressive: true }).toBuffer()
  const cmyk = await drawn(300, 200).toColourspace('cmyk').jpeg().toBuffer()
  const scanAt = jpegSegments(jpeg).find(({ marker }) => marker === 0xda)!.from
  const tables = jpegSegments(jpeg).find(({ marker }) => marker === 0xdb)!
  const frame = jpegSegments(jpeg).find(({ marker }) => marker === 0xc0)!
  return {
    'JPEG: nothing but a start': [bytes(0xff, 0xd8, 0xff), /VipsJpeg: premature end of JPEG image/],
    'JPEG: start and end': [bytes(0xff, 0xd8, 0xff, 0xd9), /VipsJpeg: JPEG datastream contains no image/],
    'JPEG without its scan': [jpeg.subarray(0, scanAt), /VipsJpeg: premature end of JPEG image/],
    'JPEG without its last marker': [jpeg.subarray(0, -2), /VipsJpeg: premature end of JPEG image/],
    'JPEG without its last byte': [jpeg.subarray(0, -1), /VipsJpeg: premature end of JPEG image/],
    'JPEG without a frame header': [
      jpegWithout(jpeg, 0xc0),
      /VipsJpeg: Invalid JPEG file structure: SOS before SOF/,
    ],
    'JPEG without Huffman tables': [
      jpegWithout(jpeg, 0xc4),
      /VipsJpeg: Corrupt JPEG data: premature end of data segment/,
    ],
    'JPEG without quantisation tables': [
      jpegWithout(jpeg, 0xdb),
      /VipsJpeg: Quantization table 0x00 was not defined/,
    ],
    'JPEG with a table of length 0': [patched(jpeg, tables.from + 2, 0, 0), /VipsJpeg: Bogus marker length/],
    'JPEG with a table longer than the file': [
      patched(jpeg, tables.from + 2, 0xff, 0xff),
      /VipsJpeg: Bogus DQT index 15/,
    ],
    'JPEG of width 0': [withFrameHeader(jpeg, { width: 0 }), /VipsJpeg: Empty JPEG image/],
    'JPEG of height 0': [withFrameHeader(jpeg, { height: 0 }), /VipsJpeg: Empty JPEG image/],
    'JPEG of 12 bits': [patched(jpeg, frame.from + 4, 12), /VipsJpeg: Unsupported JPEG data precision 12/],
    'JPEG of 5 components': [patched(jpeg, frame.from + 9, 5), /VipsJpeg: Bogus marker length/],
    'JPEG with sampling factors of 15': [
      patched(jpeg, frame.from + 11, 0xff),
      /VipsJpeg: Bogus sampling factors/,
    ],
    'JPEG with two frame headers': [
      jpegWith(jpeg, jpeg.subarray(frame.from, frame.to)),
      /VipsJpeg: Invalid JPEG file structure: two SOF markers/,
    ],
    'JPEG, hierarchical': [
      withFrameHeader(jpeg, { process: 0xc5 }),
      /VipsJpeg: Unsupported JPEG process: SOF type 0xc5/,
    ],
    'JPEG, progressive and arithmetic by its header alone': [
      withFrameHeader(progressive, { process: 0xca }),
      /VipsJpeg: Corrupt JPEG data: 260 extraneous bytes before mar/,
    ],
    'JPEG, progressive, cut in its first scan': [
      progressive.subarray(0, progressive.length / 4),
      /VipsJpeg: premature end of JPEG image/,
    ],
    'JPEG with fill bytes before its markers': [
      Buffer.concat([bytes(0xff, 0xd8), Buffer.alloc(500, 0xff), jpeg.subarray(2)]),
      '300x200',
    ],
    'JPEG behind a line feed': [Buffer.concat([bytes(10), jpeg]), /is bytes of an unknown kind/],
    'JPEG with another behind it': [Buffer.concat([jpeg, jpeg]), '300x200'],
    'JPEG with a megabyte of zeroes behind it': [Buffer.concat([jpeg, Buffer.alloc(1_000_000)]), '300x200'],
    'JPEG with 6 MB of metadata': [
      jpegWith(jpeg, ...Array.from({ length: 100 }, () => jpegSegment(0xed, MEGABYTES))),
      '300x200',
    ],
    'JPEG with 6 MB of comments': [
      jpegWith(jpeg, ...Array.from({ length: 100 }, () => jpegSegment(0xfe, MEGABYTES))),
      '300x200',
    ],
    'JPEG with 20,000 comments': [
      jpegWith(jpeg, ...Array.from({ length: 20_000 }, () => jpegSegment(0xfe, bytes(1)))),
      /has 20003 segments; expected at most 20000/,
    ],
    'JPEG with 3 million empty segments': [
      jpegWith(jpeg, Buffer.alloc(12_000_000, bytes(0xff, 0xe2, 0, 2))),
      /has 3000003 segments/,
    ],
    'JPEG with 4 MB of noise behind it': [Buffer.concat([jpeg, noise(4_000_000)]), '300x200'],
    'JPEG with EXIF that ends nowhere': [
      jpegWith(jpeg, jpegSegment(0xe1, Buffer.from('Exif\0\0MM\0*'))),
      '300x200',
    ],
    'JPEG with EXIF in a circle': [jpegWith(jpeg, exif({ orientation: 6, next: 8 })), '200x300'],
    'JPEG with EXIF orientation 0': [jpegWith(jpeg, exif({ orientation: 0 })), '300x200'],
    'JPEG with EXIF orientation 9': [jpegWith(jpeg, exif({ orientation: 9 })), '300x200'],
    'JPEG with EXIF orientation 65,535': [jpegWith(jpeg, exif({ orientation: 65_535 })), '300x200'],
    'JPEG with two orientations': [
      jpegWith(jpeg, exif({ orientation: 6 }), exif({ orientation: 3 })),
      '200x300',
    ],
    'JPEG with an orientation behind its frame header': [
      Buffer.concat([jpeg.subarray(0, frame.to), exif({ orientation: 6 }), jpeg.subarray(frame.to)]),
      '200x300',
    ],
    'JPEG with a profile of noise': [jpegWith(jpeg, iccSegment(Buffer.alloc(500, 'noise'))), '300x200'],
    'JPEG with an empty profile': [jpegWith(jpeg, iccSegment(Buffer.alloc(0))), '300x200'],
    'JPEG with the third piece of nine of a profile': [
      jpegWith(jpeg, iccSegment(Buffer.alloc(500), { piece: 3, of: 9 })),
      '300x200',
    ],
    'JPEG with a CMYK profile on RGB': [
      jpegWith(jpeg, iccSegment((await sharp(cmyk).metadata()).icc ?? Buffer.alloc(0))),
      '300x200',
    ],
    'JPEG, CMYK, without the Adobe marker': [jpegWithout(cmyk, 0xee), '300x200'],
    'JPEG, CMYK, without its profile': [jpegWithout(cmyk, 0xe2), '300x200'],
    'JPEG, CMYK, that says YCCK': [ycck(cmyk), '300x200'],
    'JPEG of 65,500 × 1': [await solid(65_500, 1).jpeg().toBuffer(), '800x1'],
    'JPEG of 1 × 65,500': [await solid(1, 65_500).jpeg().toBuffer(), '1x800'],
    'JPEG with its colours sampled 4:4:4': [
      await drawn(300, 200).jpeg({ chromaSubsampling: '4:4:4' }).toBuffer(),
      '300x200',
    ],
    'JPEG that Apple calls MPO': [
      Buffer.concat([jpegWith(jpeg, jpegSegment(0xe2, Buffer.from('MPF\0MM\0*'))), jpeg]),
      '300x200',
    ],
  }
}

async function pngs(): Promise<Group> {
  const file = await drawn(300, 200).png().toBuffer()
  const size = { width: 40, height: 30 }
  const palette = pngChunk('PLTE', bytes(255, 0, 0, 0, 0, 255))
  const rgba16 = { ...size, depth: 16, colour: 6 }
  const apng = [
    pngChunk('acTL', Buffer.concat([u32(2), u32(0)])),
    pngChunk('fcTL', Buffer.concat([u32(0), u32(40), u32(30), Buffer.alloc(14)])),
  ]
  return {
    'PNG: nothing but its signature': [file.subarray(0, 8), /Input buffer has corrupt header/],
    'PNG: nothing but its header': [file.subarray(0, 33), /Input buffer has corrupt header/],
    'PNG without rows': [png(pngHeader(size)), /Input buffer has corrupt header/],
    'PNG with half of its rows': [
      png(pngHeader(size), pngRows({ ...size, height: 15 })),
      /vipspng: libpng read error/,
    ],
    'PNG with more rows than it says': [png(pngHeader(size), pngRows({ ...size, height: 60 })), '40x30'],
    'PNG without its last chunk': [file.subarray(0, -12), '300x200'],
    'PNG with a wrong CRC in its header': [patched(file, 30, 1, 2), /IHDR: CRC error/],
    'PNG with a wrong CRC in its rows': [
      patched(file, file.length - 16, 1, 2, 3, 4),
      /vipspng: libpng read error/,
    ],
    'PNG with a wrong CRC in a comment': [
      plainPng(size, patched(pngChunk('tEXt', Buffer.from('a\0b')), 11, 9, 9)),
      '40x30',
    ],
    'PNG of width 0': [plainPng({ width: 0, height: 9 }), /Input buffer has corrupt header/],
    'PNG of 3 bits': [plainPng({ ...size, depth: 3 }), /Input buffer has corrupt header/],
    'PNG of colour type 5': [plainPng({ ...size, colour: 5 }), /Input buffer has corrupt header/],
    'PNG with filter 9': [png(pngHeader(size), pngRows(size, { filter: 9 })), /vipspng: libpng read error/],
    'PNG whose rows are not deflated': [
      png(pngHeader(size), pngChunk('IDAT', Buffer.alloc(500, 7))),
      /vipspng: libpng read error/,
    ],
    'PNG with two headers': [plainPng(size, pngHeader(size)), /Input buffer has corrupt header/],
    'PNG with a palette': [
      png(pngHeader({ ...size, colour: 3 }), palette, pngRows({ ...size, colour: 3 })),
      '40x30',
    ],
    'PNG with a palette and no colours': [
      plainPng({ ...size, colour: 3 }),
      /Input buffer has corrupt header/,
    ],
    'PNG with colours beyond its palette': [
      png(pngHeader({ ...size, colour: 3 }), palette, pngRows({ ...size, colour: 3 }, { fill: 77 })),
      '40x30',
    ],
    'PNG of 1 bit': [plainPng({ ...size, depth: 1, colour: 0 }), '40x30'],
    'PNG of 2 bits with a palette': [
      png(pngHeader({ ...size, depth: 2, colour: 3 }), palette, pngRows({ ...size, depth: 2, colour: 3 })),
      '40x30',
    ],
    'PNG of grey and alpha': [plainPng({ ...size, colour: 4 }), '40x30'],
    'PNG of 16-bit RGBA': [plainPng(rgba16), '40x30'],
    'PNG, interlaced': [await drawn(300, 200).png({ progressive: true }).toBuffer(), '300x200'],
    'PNG, interlaced by its header alone': [
      png(pngHeader({ ...size, interlaced: true }), pngRows(size)),
      /Not enough image data/,
    ],
    'PNG with one transparent colour': [
      png(pngHeader(size), pngChunk('tRNS', Buffer.alloc(6)), pngRows(size)),
      '40x30',
    ],
    'PNG with gamma 0': [plainPng(size, pngChunk('gAMA', u32(0))), '40x30'],
    'PNG with EXIF orientation 6': [
      plainPng(size, pngChunk('eXIf', exif({ orientation: 6 }).subarray(10))),
      '30x40',
    ],
    'PNG with a profile of noise': [
      plainPng(
        size,
        pngChunk('iCCP', Buffer.concat([Buffer.from('a\0\0'), deflateSync(Buffer.alloc(500, 'noise'))])),
      ),
      '40x30',
    ],
    'PNG with 6 MB of metadata': [
      plainPng(size, ...Array.from({ length: 100 }, () => pngChunk('tEXt', MEGABYTES))),
      '40x30',
    ],
    'PNG with an unknown critical chunk': [
      plainPng(size, pngChunk('ABCD')),
      /Input buffer has corrupt header/,
    ],
    'PNG of an iPhone': [
      png(pngChunk('CgBI', bytes(0x50, 0, 0x20, 2)), pngHeader(size), pngRows(size)),
      /Input buffer has corrupt header/,
    ],
    'PNG, animated': [png(pngHeader(size), ...apng, pngRows(size)), '40x30'],
    'PNG with garbage behind it': [Buffer.concat([file, Buffer.alloc(5_000, 7)]), '300x200'],
    'PNG of 1 × 65,535': [plainPng({ width: 1, height: 65_535 }), '1x800'],
    'PNG of 1 × 65,536': [
      plainPng({ width: 1, height: 65_536 }),
      /is 1 × 65536; expected sides of at most 65535/,
    ],
  }
}

async function gifs(): Promise<Group> {
  const size = { width: 40, height: 30 }
  const file = await drawn(300, 200).gif().toBuffer()
  return {
    'GIF: nothing but its signature': [
      file.subarray(0, 6),
      /gifload_buffer: Unexpected end of GIF source data/,
    ],
    'GIF without frames': [gif(size, []), /gifload_buffer: no frames in GIF/],
    'GIF of size 0': [gif({ width: 0, height: 0 }, [PIXEL]), '1x1'],
    'GIF with a frame of size 0': [gif(size, [{ width: 0, height: 0 }]), '40x30'],
    'GIF with a frame larger than its screen': [gif(size, [{ width: 400, height: 300 }]), '400x300'],
    'GIF with a frame outside of its screen': [gif(size, [{ ...PIXEL, left: 60_000 }]), '800x1'],
    'GIF whose LZW codes are noise': [
      gif(size, [size], [8, 200, ...Array(200).fill(0xfe), 0]),
      /gifload_buffer: Invalid frame data/,
    ],
    'GIF whose LZW codes have 13 bits': [
      gif(size, [size], [13, 2, 0x44, 1, 0]),
      /gifload_buffer: Invalid frame data/,
    ],
    'GIF without its last byte': [file.subarray(0, -1), '300x200'],
    'GIF 87a': [patched(file, 4, 0x37), '300x200'],
    'GIF with a comment of 60,000 bytes': [
      Buffer.concat([
        file.subarray(0, -1),
        bytes(0x21, 0xfe),
        ...Array.from({ length: 236 }, () => Buffer.concat([bytes(255), MEGABYTES.subarray(0, 255)])),
        bytes(0, 0x3b),
      ]),
      '300x200',
    ],
  }
}

async function webps(): Promise<Group> {
  const file = await drawn(300, 200).webp().toBuffer()
  const lossless = await drawn(40, 40).webp({ lossless: true }).toBuffer()
  const vp8 = webpChunk(file, 'VP8 ')
  const pixel = anmf(await drawn(1, 1).webp({ lossless: true }).toBuffer(), 'VP8L', 1)
  return {
    'WebP: nothing but its signature': [webp(), /webp: unable to parse image/],
    'WebP, lossless': [lossless, '40x40'],
    'WebP, cut by a tenth': [file.subarray(0, file.length * 0.9), /webp: unable to parse image/],
    'WebP that says it is shorter': [patched(file, 4, 100, 0, 0, 0), /webp: unable to parse image/],
    'WebP that says it is longer': [patched(file, 4, 255, 255, 255, 0), /webp: unable to parse image/],
    'WebP with another size in its header': [
      webp(vp8x(0, 900, 900), ['VP8 ', vp8]),
      /webp: unable to parse image/,
    ],
    'WebP with EXIF orientation 6': [
      webp(vp8x(8, 300, 200), ['VP8 ', vp8], ['EXIF', exif({ orientation: 6 }).subarray(10)]),
      '200x300',
    ],
    'WebP with a profile of noise': [
      webp(vp8x(32, 300, 200), ['ICCP', Buffer.alloc(500, 'noise')], ['VP8 ', vp8]),
      '300x200',
    ],
    'WebP with 6 MB of metadata': [
      webp(vp8x(4, 300, 200), ['VP8 ', vp8], ['XMP ', Buffer.alloc(6_000_000, 'x')]),
      '300x200',
    ],
    'WebP, animated, without frames': [
      webp(vp8x(2, 300, 200), ['ANIM', Buffer.alloc(6)]),
      /webp: unable to parse image/,
    ],
    'WebP, animated, of 1,001 frames': [
      webp(
        vp8x(2, 40, 40),
        ['ANIM', Buffer.alloc(6)],
        ...Array.from({ length: 1_001 }, () => anmf(lossless, 'VP8L', 40)),
      ),
      /has 1001 frames; expected at most 1000/,
    ],
    'WebP, animated, of 50,000 frames in 2 MB': [
      webp(vp8x(2, 40, 40), ['ANIM', Buffer.alloc(6)], ...Array.from({ length: 50_000 }, () => pixel)),
      /has 50000 frames/,
    ],
    'WebP whose data is noise': [webp(['VP8L', Buffer.alloc(2_000, 0x2f)]), /webp: unable to parse image/],
    'RIFF that is sound': [Buffer.from('RIFF\x24\0\0\0WAVEfmt ', 'latin1'), /is bytes of an unknown kind/],
  }
}

async function isoMedia(): Promise<Group> {
  const avif = await drawn(300, 200).avif({ effort: 0 }).toBuffer()
  const size = avif.indexOf('ispe') + 8
  return {
    'AVIF cut in half': [
      avif.subarray(0, avif.length / 2),
      /heif: Invalid input: Unexpected end of file: Extent in iloc/,
    ],
    'AVIF: nothing but its brand': [
      avif.subarray(0, avif.readUInt32BE(0)),
      /heif: Invalid input: Unspecified: File size too small\./,
    ],
    'AVIF that says it is 65,535²': [
      patched(avif, size, 0, 0, 255, 255, 0, 0, 255, 255),
      /has 65535 × 65535 pixels; expected at most 16 megapixels for/,
    ],
    'AVIF that says it is 900²': [
      patched(avif, size, 0, 0, 3, 132, 0, 0, 3, 132),
      /heif: Invalid input: Invalid image size: Decoded image does/,
    ],
    'AVIF of size 0': [
      patched(avif, size, 0, 0, 0, 0, 0, 0, 0, 0),
      /heif: Invalid input: Invalid image size: Zero image width or/,
    ],
    'AVIF whose boxes are longer than the file': [
      patched(avif, avif.readUInt32BE(0), 0x7f, 0xff, 0xff, 0xff),
      /heif: Invalid input: No 'meta' box: Cannot read full meta bo/,
    ],
    'AVIF that calls itself HEIC': [patched(avif, 8, ...Buffer.from('heic')), '300x200'],
    'AVIF with transparency': [
      await sharp({ create: { width: 300, height: 200, channels: 4, background: '#0008' } })
        .avif({ effort: 0 })
        .toBuffer(),
      '300x200',
    ],
    'HEIC: nothing but its brand': [
      Buffer.from('\0\0\0\x18ftypheic\0\0\0\0mif1heic', 'latin1'),
      /heif: Invalid input: Unspecified: File size too small\./,
    ],
    'film of an iPhone': [
      Buffer.from('\0\0\0\x14ftypqt  \0\0\0\0qt  ', 'latin1'),
      /is a video or another ISO media file/,
    ],
    'JPEG XL, bare': [bytes(0xff, 0x0a, 0xfa, 0x1f), /is a JPEG XL/],
    'JPEG XL in boxes': [Buffer.from('\0\0\0\x0cJXL \r\n\x87\n', 'latin1'), /is a JPEG XL/],
    'JPEG 2000': [Buffer.from('\0\0\0\x0cjP  \r\n\x87\n', 'latin1'), /is a JPEG 2000/],
  }
}

async function polyglots(): Promise<Group> {
  const jpeg = await drawn(300, 200).jpeg().toBuffer()
  const file = await drawn(300, 200).png().toBuffer()
  const zip = Buffer.from('PK\x03\x04\x14\0\0\0', 'latin1')
  return {
    'JPEG that is a ZIP from behind': [Buffer.concat([jpeg, zip]), '300x200'],
    'JPEG with a page in its comment': [
      jpegWith(jpeg, jpegSegment(0xfe, Buffer.from('<script>alert(1)</script><!--'))),
      '300x200',
    ],
    'PNG with PHP in its text': [
      plainPng({ width: 40, height: 30 }, pngChunk('tEXt', Buffer.from('a\0<?php system($_GET[0]); ?>'))),
      '40x30',
    ],
    'GIF that is JavaScript': [
      Buffer.from('GIF89a/*\0\0\0\0*/=1;alert(1)'),
      /gifload_buffer: Invalid frame data/,
    ],
    'PDF with a picture in it': [Buffer.concat([Buffer.from('%PDF-1.7\n'), jpeg]), /is a PDF/],
    'page with a picture in it': [Buffer.concat([Buffer.from('<html>'), file]), /is an HTML page/],
    'PNG signature before a JPEG': [
      Buffer.concat([file.subarray(0, 8), jpeg]),
      /Input buffer has corrupt header/,
    ],
    'JPEG signature before a PNG': [
      Buffer.concat([jpeg.subarray(0, 3), file]),
      /VipsJpeg: Unsupported marker type 0x89/,
    ],
  }
}

async function otherKinds(): Promise<Group> {
  const latin = (text: string) => Buffer.from(text, 'latin1')
  return {
    BMP: [latin('BM\x46\0\0\0'), /is a BMP/],
    ICO: [latin('\0\0\x01\0\x01\0'), /is an ICO/],
    'Photoshop file': [latin('8BPS\0\x01'), /is a Photoshop file/],
    'ZIP archive': [latin('PK\x03\x04'), /is a ZIP/],
    'WebM film': [latin('\x1a\x45\xdf\xa3'), /is a Matroska or WebM/],
    'TIFF of a Macintosh': [latin('MM\0*\0\0\0\x08'), /is a TIFF/],
    'page of an error': [latin('  <!doctype HTML>\n<h1>403 Forbidden</h1>'), /is an HTML page/],
    'XML of a bucket': [
      latin('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
      /is XML or HTML/,
    ],
    'JSON list': [latin('[{"error":1}]'), /is JSON/],
    'plain text': [latin('URL signature expired'), /is text/],
    'spaces only': [latin('   \n\n'), /is text/],
    'page in UTF-16': [
      Buffer.concat([bytes(0xff, 0xfe), Buffer.from('<html>', 'utf16le')]),
      /of an unknown kind/,
    ],
    'program for Windows': [latin('MZ\x90\0\x03\0\0\0'), /of an unknown kind/],
    'program for Linux': [latin('\x7fELF\x02\x01\x01\0'), /of an unknown kind/],
    'portable pixmap': [latin('P6\n1 1\n255\n\0\0\0'), /is bytes of an unknown kind/],
    'Radiance map': [latin('#?RADIANCE\n\n-Y 1 +X 1\n\0\0\0\0'), /is bytes of an unknown kind/],
    'OpenEXR map': [latin('v/1\x01\x02\0\0\0'), /of an unknown kind/],
    'MATLAB file': [latin('MATLAB 5.0 MAT-file'), /is text/],
    'ImageMagick script': [latin('push graphic-context\nimage over 0,0 0,0 "url(/etc/passwd)"'), /is text/],
  }
}

function plainPngOf(size: { width: number; height: number }): Buffer {
  return png(pngHeader(size), pngRows({ width: 8, height: 1 }))
}

/** The same every time, and all of its bytes about as often. */
function noise(length: number): Buffer {
  const made = Buffer.alloc(length)
  for (let at = 0, state = 1; at < length; at++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    made[at] = state >> 16
  }
  return made
}

function solid(width: number, height: number) {
  return sharp({ create: { width, height, channels: 3, background: '#c00' } })
}

/**
 * A progressive JPEG that refines nothing, coefficient by coefficient and bit by bit, in as many scans as the standard allows:
 * each is a few bytes long and walks over every block of the picture, and none of them is wrong.
 */
function scans(side: number, count: number): Buffer {
  const blocks = Math.ceil(side / 8) ** 2
  const head = [
    bytes(0xff, 0xd8),
    jpegSegment(0xdb, Buffer.concat([bytes(0), Buffer.alloc(64, 1)])),
    jpegSegment(0xc2, Buffer.concat([bytes(8, side >> 8, side & 255, side >> 8, side & 255, 1, 1, 0x11, 0)])),
    // One code each, of one bit: a difference of 0, and an end of band for 2^14 blocks and more.
    jpegSegment(0xc4, Buffer.concat([bytes(0x00, 1), Buffer.alloc(15), bytes(0)])),
    jpegSegment(0xc4, Buffer.concat([bytes(0x10, 1), Buffer.alloc(15), bytes(0xe0)])),
    jpegSegment(0xda, bytes(1, 1, 0, 0, 0, 0)),
    Buffer.alloc(Math.ceil(blocks / 8)),
  ]
  const runs = Math.ceil(blocks / 2 ** 14)
  const ends = Buffer.alloc(Math.ceil((runs * 15) / 8))
  const later = Array.from({ length: count - 1 }, (_, index) => {
    const [coefficient, bit] = [1 + (index % 63), 13 - Math.floor(index / 63)]
    const approximation = ((bit === 13 ? 0 : bit + 1) << 4) | bit
    return Buffer.concat([jpegSegment(0xda, bytes(1, 1, 0, coefficient, coefficient, approximation)), ends])
  })
  return Buffer.concat([...head, ...later, bytes(0xff, 0xd9)])
}

/** A CMYK JPEG whose Adobe marker claims the transform YCCK. */
function ycck(cmyk: Buffer): Buffer {
  const adobe = jpegSegments(cmyk).find(({ marker }) => marker === 0xee)
  if (adobe === undefined) throw new Error('no Adobe marker')
  return patched(cmyk, adobe.from + 15, 2)
}
