import sharp, { type Sharp } from 'sharp'

/** A picture with some detail in it: gradients and a texture, the same every time. RGB. */
export function drawn(width: number, height: number, seed = 0): Sharp {
  const pixels = Buffer.alloc(width * height * 3)
  let noise = seed * 7919 + 1
  for (let at = 0, y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      noise = (noise * 1103515245 + 12345) & 0x7fffffff
      pixels[at++] = (x * 255) / width
      pixels[at++] = (y * 255) / height
      pixels[at++] = 100 + ((noise >> 16) & 31) + seed
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
}

/** One colour a quarter: red and green above, blue and white below. Tells which way up a picture is. */
export function quarters(width: number, height: number): Sharp {
  const pixels = Buffer.alloc(width * height * 3)
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [left, top] = [x < width / 2, y < height / 2]
      const colour = top ? (left ? [255, 0, 0] : [0, 255, 0]) : left ? [0, 0, 255] : [255, 255, 255]
      pixels.set(colour, (y * width + x) * 3)
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
}

/** A GIF or WebP of `frames` frames, each of one shade of grey. */
export async function animated(format: 'gif' | 'webp', size: number, frames: number): Promise<Buffer> {
  const images = Array.from({ length: frames }, (_, index) => ({
    create: {
      width: size,
      height: size,
      channels: 3 as const,
      background: { r: index * 20, g: 128, b: 255 - index * 20 },
    },
  }))
  const pages = await Promise.all(images.map((image) => sharp(image).png().toBuffer()))
  const joined = sharp(pages, { join: { animated: true } })
  return format === 'gif' ? joined.gif().toBuffer() : joined.webp().toBuffer()
}

/** A JPEG whose frame header says another size than it was made with, or another coding process. */
export function withFrameHeader(
  jpeg: Buffer,
  change: { width?: number; height?: number; process?: number },
): Buffer {
  const changed = Buffer.from(jpeg)
  let at = 2
  while (at < changed.length && !isFrameHeader(changed[at + 1]!)) at += 2 + changed.readUInt16BE(at + 2)
  if (change.process !== undefined) changed[at + 1] = change.process
  if (change.height !== undefined) changed.writeUInt16BE(change.height, at + 5)
  if (change.width !== undefined) changed.writeUInt16BE(change.width, at + 7)
  return changed
}

function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
}
