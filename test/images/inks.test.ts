import assert from 'node:assert/strict'
import { test } from 'node:test'
import sharp from 'sharp'
import { jpegWithout } from './forge.ts'
import { openPool } from './stage-parts.ts'

// JPEGs without a profile, made by Pillow 13 (libjpeg), which reads the same inks and colours out of them again: patches of 16 × 16.
// Inks are stored inverted, as Photoshop does; the Adobe marker says how they are transformed.
const decoded = (base64: string) => Buffer.from(base64, 'base64')
const FILES = {
  /** Inks as they are; eight patches, of which the first six are `INKS`. */
  cmyk: decoded(
    '/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkKCgoKCgYICwwLCgwJ' +
      'CgoK/8AAFAgAEACABEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAE' +
      'EQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6' +
      'g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkA' +
      'SwAAPwD+f+v38r9/K/fyiiiiv7/K/gDooooooor+/wAr+AOiiiiiiiv7/K/gDooooooor+/yiiiiv5/6KKKKKKK/oAr+N+v436KKKKK+D6/qAr+o' +
      'Cvxvoooor+POvqCvqCv2Qoooor+/yv4A6KKKKKKK/v8AK/gDooooooor+/yv4A6KKKKKKK/v8oooor+f+iiiiiiiv6AK/jfr+N+iiiiivg+v6gK/' +
      'qAr8b6KKKK//2Q==',
  ),
  /** The same inks as luminance and colour differences. */
  ycck: decoded(
    '/9j/7gAOQWRvYmUAZAAAAAAC/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkKCgoKCgYICwwLCgwJ' +
      'CgoK/8AAFAgAEACABEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAE' +
      'EQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6' +
      'g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkA' +
      'SwAAPwD4vr5Tr9/K/fyiiiiv0or5br+Feiiiiivwbr+0yv1YooooorwuvwDr1Sv4A6KKKKKKK/v8oooor6Yryev0Aooooor9mK+4K/lvooooor8h' +
      '6+a6/bivxvoooor3ivl+v3Ur9kKKKKK/Sivluv4V6KKKKK/Buv7TK/ViiiiiivC6/AOvVK/gDooooooor+/yiiiivpivJ6/QCiiiiiv2Yr7gr+W+' +
      'iiiiivyHr5rr9uK/G+iiiiv/2Q==',
  ),
  /** Three colours as they are: without the marker a decoder would take them for luminance and differences. */
  rgb: decoded(
    '/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkKCgoKCgYICwwLCgwJ' +
      'CgoK/8AAEQgAEABgA1IRAEcRAEIRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUS' +
      'ITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SF' +
      'hoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAAwDUgBHAEIAAD8A' +
      '/fyv5/6/n/ooor+AOv7/ACiiiiiv4A6/v8ooooor+AOiiiv7/K/v8r+/yiiiviOv546/ijooor7cr8H6+X6KKK/gDr+/yiiiiiv4A6/v8ooooor+' +
      'AOiiiv7/ACv7/K/v8ooor4jr+eOv4o6KKK//2Q==',
  ),
}

/**
 * What the inks of 100% look like in sRGB when printed by SWOP, as Adobe's swatches have it. libvips converts by a generic profile of its
 * own, so near is enough: inks read upside down, or differences for inks, are off by 150 and more.
 */
const INKS = {
  cyan: [0, 174, 239],
  magenta: [236, 0, 140],
  yellow: [255, 242, 0],
  black: [35, 31, 32],
  none: [255, 255, 255],
  'half of cyan': [109, 207, 246],
} as const
const INKS_TOLERANCE = 36

const COLOURS = {
  red: [255, 0, 0],
  green: [0, 255, 0],
  blue: [0, 0, 255],
  black: [0, 0, 0],
  white: [255, 255, 255],
  brown: [200, 120, 40],
} as const
/** Of two JPEG encodings. */
const COLOURS_TOLERANCE = 8

for (const [name, file, expected, tolerance] of [
  ['CMYK with the Adobe marker', FILES.cmyk, INKS, INKS_TOLERANCE],
  // Nothing says then that they are inverted; libjpeg's readers take it for granted, and so does Pillow.
  ['CMYK without a marker', jpegWithout(FILES.cmyk, 0xee), INKS, INKS_TOLERANCE],
  ['YCCK', FILES.ycck, INKS, INKS_TOLERANCE],
  ['RGB that the Adobe marker says is not transformed', FILES.rgb, COLOURS, COLOURS_TOLERANCE],
] as const) {
  test(`a JPEG of ${name} has its colours in what is stored`, async (t) => {
    const { pool } = await openPool(t)
    await pool.start()
    const result = await pool.resize({ bytes: new Uint8Array(file), sha256: 'a'.repeat(64) }, t.signal)
    assert.equal(result.status, 'made')
    if (result.status !== 'made') return
    const full = result.made.find(({ variant }) => variant.name === 'full')!
    const { data, info } = await sharp(full.bytes).raw().toBuffer({ resolveWithObject: true })
    for (const [patch, [colour, reference]] of Object.entries(expected).entries()) {
      const at = (8 * info.width + 16 * patch + 8) * info.channels
      const found = [...data.subarray(at, at + 3)]
      const off = Math.max(...found.map((value, channel) => Math.abs(value - reference[channel]!)))
      assert.ok(off <= tolerance, `${colour} is ${found}, expected about ${reference}`)
    }
  })
}
