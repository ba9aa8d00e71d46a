import sharp from 'sharp'

const ALLOWED = ['Jpeg', 'Png', 'Webp', 'Nsgif', 'Heif'].map((name) => `VipsForeignLoad${name}Buffer`)

let restricted = false

/**
 * From now on libvips decodes JPEG, PNG, WebP, GIF and AVIF from memory and nothing else, in this whole process: no SVG, no PDF, no
 * file. Done once and before the first thread starts: between the two calls everything is forbidden, and a picture that another
 * thread is just opening would be refused as unknown (seen 1 time in 60 when each worker thread did it for itself).
 */
export function restrictLoaders(): void {
  if (restricted) return
  restricted = true
  sharp.block({ operation: ['VipsForeignLoad'] })
  sharp.unblock({ operation: ALLOWED })
}
