/** The formats we decode. */
export type SourceFormat = 'jpeg' | 'png' | 'webp' | 'gif' | 'avif' | 'heif'

export type Sniffed = { readonly format: SourceFormat } | { readonly other: string }

/**
 * What the bytes are, by their first ones; what a server or a file name calls them does not count. `other` names, for people,
 * what was found instead of a picture that we decode.
 */
export function sniff(bytes: Uint8Array): Sniffed {
  if (bytes.length === 0) return { other: 'nothing (0 bytes)' }
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 1024))
  const latin = head.toString('latin1')
  if (latin.startsWith('\xff\xd8\xff')) return { format: 'jpeg' }
  if (latin.startsWith('\x89PNG\r\n\x1a\n')) return { format: 'png' }
  if (latin.startsWith('RIFF') && latin.slice(8, 12) === 'WEBP') return { format: 'webp' }
  if (/^GIF8[79]a/.test(latin)) return { format: 'gif' }
  if (latin.slice(4, 8) === 'ftyp') return brandOf(latin)
  for (const [start, name] of SIGNATURES) if (latin.startsWith(start)) return { other: name }
  return { other: textKind(head) ?? 'bytes of an unknown kind' }
}

const SIGNATURES: readonly (readonly [string, string])[] = [
  ['BM', 'a BMP'],
  ['II*\0', 'a TIFF'],
  ['MM\0*', 'a TIFF'],
  ['II+\0', 'a TIFF'],
  ['MM\0+', 'a TIFF'],
  ['\0\0\x01\0', 'an ICO'],
  ['%PDF', 'a PDF'],
  ['PK\x03\x04', 'a ZIP archive'],
  ['\x1f\x8b', 'gzip data'],
  ['\x1a\x45\xdf\xa3', 'a Matroska or WebM video'],
  ['8BPS', 'a Photoshop file'],
  ['\xff\x0a', 'a JPEG XL'],
  ['\0\0\0\x0cJXL ', 'a JPEG XL'],
  ['\0\0\0\x0cjP  ', 'a JPEG 2000'],
]

/** An ISO media file: the brands (major, then compatible ones) say what is inside. */
function brandOf(latin: string): Sniffed {
  const boxBytes = Buffer.from(latin.slice(0, 4), 'latin1').readUInt32BE()
  const brands = [
    latin.slice(8, 12),
    ...(latin.slice(16, Math.min(boxBytes, latin.length)).match(/.{4}/gs) ?? []),
  ]
  if (brands.includes('avif') || brands.includes('avis')) return { format: 'avif' }
  if (brands.some((brand) => /^(hei[cxms]|hev[cxms]|mif1|msf1)$/.test(brand))) return { format: 'heif' }
  return { other: 'a video or another ISO media file' }
}

function textKind(head: Buffer): string | undefined {
  const text = head
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .trimStart()
    .toLowerCase()
  if (text.startsWith('<svg') || (text.startsWith('<?xml') && text.includes('<svg'))) return 'an SVG'
  if (/^<(!doctype html|html|head|body)/.test(text)) return 'an HTML page'
  if (text.startsWith('<')) return 'XML or HTML'
  if (text.startsWith('{') || text.startsWith('[')) return 'JSON'
  return [...text].every((char) => /\s|[ -~]/.test(char)) ? 'text' : undefined
}
