import type { Size } from './variants.ts'

const SCAN = 0xda
/** Baseline, extended and progressive, Huffman coded. */
const FRAMES = [0xc0, 0xc1, 0xc2]
/** Quantisation, Huffman codes, restart interval, comment. */
const OTHERS = [0xdb, 0xc4, 0xdd, 0xfe]
const EXIF = 0xe1

/**
 * The size of an ordinary JPEG from its frame header, or undefined when anything about it is not ordinary: then the codec has to
 * tell. Ordinary: well-formed segments up to the first scan, one frame header of 8 bits and grey or three colours, and no APP1
 * segment, where an orientation could turn the picture. Most pictures of the platforms are; asking the codec costs 0.5 ms of CPU.
 */
export function ordinaryJpegSize(bytes: Buffer): Size | undefined {
  let size: Size | undefined
  for (let at = 2; at + 10 <= bytes.length; at += 2 + bytes.readUInt16BE(at + 2)) {
    if (bytes[at] !== 0xff || bytes.readUInt16BE(at + 2) < 2) return undefined
    const marker = bytes[at + 1]!
    if (marker === SCAN) return size
    if (FRAMES.includes(marker) && size === undefined) {
      size = sizeOfFrame(bytes, at)
      if (size === undefined) return undefined
    } else if (!OTHERS.includes(marker) && !isApplication(marker)) {
      return undefined
    }
  }
  return undefined
}

function isApplication(marker: number): boolean {
  return marker >= 0xe0 && marker <= 0xef && marker !== EXIF
}

function sizeOfFrame(bytes: Buffer, at: number): Size | undefined {
  const [bits, components] = [bytes[at + 4], bytes[at + 9]]
  const [height, width] = [bytes.readUInt16BE(at + 5), bytes.readUInt16BE(at + 7)]
  const ordinary = bits === 8 && (components === 1 || components === 3) && width > 0 && height > 0
  return ordinary ? { width, height } : undefined
}
