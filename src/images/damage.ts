import type { SourceFormat } from './sniff.ts'
import { sniff } from './sniff.ts'

const FORMAT_OF: Readonly<Record<string, SourceFormat>> = { jpg: 'jpeg', webp: 'webp', avif: 'avif' }

/**
 * Why these bytes are not the stored picture that the key names, or null: another kind of thing, or cut short. Looks at the
 * frame of the format only (JPEG's end mark, the lengths of RIFF and of ISO boxes); what is inside is not decoded.
 */
export function damageOf(key: string, bytes: Uint8Array): string | null {
  const expected = FORMAT_OF[key.slice(key.lastIndexOf('.') + 1)]
  const sniffed = sniff(bytes)
  if ('other' in sniffed) return `is ${sniffed.other}`
  if (sniffed.format !== expected) return `is ${sniffed.format}, expected ${expected}`
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (expected) {
    case 'jpeg':
      return view.getUint16(bytes.length - 2) === 0xffd9 ? null : 'ends before the end of the JPEG'
    case 'webp':
      return view.getUint32(4, true) + 8 === bytes.length ? null : 'is not as long as its RIFF header says'
    case 'avif':
      return boxesEnd(view) === bytes.length ? null : 'is not as long as its boxes say'
    default:
      return null
  }
}

/** Where the last of the ISO boxes ends, by what each says of its length. */
function boxesEnd(view: DataView): number {
  let at = 0
  while (at + 8 <= view.byteLength) {
    const size = view.getUint32(at)
    // 0: to the end of the file. 1: 64 bits follow, which no stored picture needs.
    if (size === 0) return view.byteLength
    if (size < 8) return -1
    at += size
  }
  return at
}
