import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import sharp from 'sharp'
import { FileCrashMarks } from '../../src/images/crash-marks.ts'
import { PicturePool } from '../../src/images/pool.ts'
import { DEFAULT_ENCODER, type ResizeResult } from '../../src/images/resize-task.ts'
import { DEFAULT_VARIANTS, type Variant } from '../../src/images/variants.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { animated, drawn, quarters, withFrameHeader } from './sources.ts'
import { LOG, openPool, PATIENT_LIMITS } from './stage-parts.ts'

// Generated before the pool starts: its threads forbid, for the whole process, the loaders that some of these need.
const sources = {} as Record<string, Buffer>
let pool: PicturePool
let folder: string
const PICTURE = { width: 1200, height: 900 }

before(async () => {
  const picture = () => drawn(PICTURE.width, PICTURE.height)
  const jpeg = await picture().jpeg().toBuffer()
  Object.assign(sources, {
    jpeg,
    png: await picture().png({ compressionLevel: 1 }).toBuffer(),
    webp: await picture().webp({ effort: 0 }).toBuffer(),
    avif: await picture().avif({ effort: 0 }).toBuffer(),
    gif: await picture().gif({ effort: 1 }).toBuffer(),
    progressive: await picture().jpeg({ progressive: true }).toBuffer(),
    cmyk: await picture().toColourspace('cmyk').jpeg().toBuffer(),
    grey: await picture().toColourspace('b-w').jpeg().toBuffer(),
    png16: await drawn(300, 200).toColourspace('rgb16').png().toBuffer(),
    png16grey: await drawn(300, 200).toColourspace('grey16').png().toBuffer(),
    trailing: Buffer.concat([jpeg, Buffer.alloc(1000, 7)]),
    animatedGif: await animated('gif', 100, 5),
    animatedWebp: await animated('webp', 100, 5),
    onePixel: await drawn(1, 1).png().toBuffer(),
    line: await sharp({ create: { width: 30_000, height: 1, channels: 3, background: '#c00' } })
      .png()
      .toBuffer(),
    pillar: await sharp({ create: { width: 1, height: 30_000, channels: 3, background: '#c00' } })
      .jpeg()
      .toBuffer(),
    transparent: await sharp({ create: { width: 300, height: 200, channels: 4, background: '#00000000' } })
      .png()
      .toBuffer(),
    wideGamut: await sharp({ create: { width: 64, height: 64, channels: 3, background: '#ff0000' } })
      .withIccProfile('p3')
      .jpeg({ quality: 100 })
      .toBuffer(),
    arithmetic: withFrameHeader(jpeg, { process: 0xc9 }),
    empty: Buffer.alloc(0),
    html: Buffer.from('<!DOCTYPE html><title>Not here</title>'),
    json: Buffer.from('{"error":"expired"}'),
    svg: Buffer.from('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    tiff: await drawn(20, 20).tiff().toBuffer(),
    pdf: Buffer.from('%PDF-1.7 …'),
    video: Buffer.concat([Buffer.from([0, 0, 0, 20]), Buffer.from('ftypisom\0\0\0\0mp42')]),
    unknown: Buffer.from([1, 2, 3, 4, 200, 201]),
    jpegHeaderOnly: jpeg.subarray(0, 4),
    jpegCut: jpeg.subarray(0, jpeg.length / 2),
    pngCut: (await picture().png().toBuffer()).subarray(0, 20_000),
    jpegHole: Buffer.concat([jpeg.subarray(0, 9_000), Buffer.alloc(300, 0xff), jpeg.subarray(9_300)]),
    jpegBomb: withFrameHeader(jpeg, { width: 65_000, height: 65_000 }),
    jpegLiar: withFrameHeader(jpeg, { width: 6_000, height: 6_000 }),
    jpegLossless: withFrameHeader(jpeg, { process: 0xc3 }),
    longLine: await sharp({ create: { width: 70_000, height: 1, channels: 3, background: '#c00' } })
      .png()
      .toBuffer(),
    largeAvif: await sharp({ create: { width: 1200, height: 1000, channels: 3, background: '#c00' } })
      .avif({ effort: 0 })
      .toBuffer(),
  })
  for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8]) {
    sources[`exif${orientation}`] = await quarters(300, 200).withMetadata({ orientation }).jpeg().toBuffer()
  }
  folder = await mkdtemp(join(tmpdir(), 'millrace-images-'))
  pool = new PicturePool(
    // The bound for AVIF is lowered, so that a large one need not be made.
    {
      variants: DEFAULT_VARIANTS,
      limits: { ...PATIENT_LIMITS, heifPixelsMax: 1_100_000 },
      encoder: DEFAULT_ENCODER,
    },
    {
      marks: new FileCrashMarks({ path: join(folder, 'marks'), slots: 16, log: LOG }),
      metrics: createMetrics(),
      log: LOG,
    },
  )
  await pool.start()
})

after(async () => {
  await pool.stop()
  await rm(folder, { recursive: true, force: true, maxRetries: 10 })
})

async function resized(t: TestContext, name: string, variants?: readonly Variant[]): Promise<ResizeResult> {
  let resizing = pool
  if (variants !== undefined) {
    resizing = (await openPool(t, { variants })).pool
    await resizing.start()
  }
  return resizing.resize({ bytes: Buffer.from(sources[name]!), sha256: 'a'.repeat(64) }, t.signal)
}

async function made(t: TestContext, name: string, variants?: readonly Variant[]) {
  const result = await resized(t, name, variants)
  assert.equal(result.status, 'made', result.status === 'rejected' ? result.why : '')
  if (result.status !== 'made') throw new Error('unreachable')
  for (const { variant, width, height, bytes } of result.made) {
    const opened = await sharp(bytes).metadata()
    assert.deepEqual(
      {
        format: opened.compression === 'av1' ? 'avif' : opened.format,
        width: opened.width,
        height: opened.height,
      },
      { format: variant.format, width, height },
    )
    assert.equal(opened.space, 'srgb')
    for (const stripped of ['exif', 'icc', 'xmp', 'iptc', 'orientation'] as const)
      assert.equal(opened[stripped], undefined)
  }
  assert.ok(Buffer.from(result.thumbhash, 'base64').length >= 5)
  return new Map(result.made.map((one) => [one.variant.name, one]))
}

describe('a picture becomes its variants', () => {
  for (const name of [
    'jpeg',
    'png',
    'webp',
    'avif',
    'gif',
    'progressive',
    'cmyk',
    'grey',
    'trailing',
    'arithmetic',
  ]) {
    test(`from ${name}`, async (t) => {
      const variants = await made(t, name)
      assert.deepEqual([variants.get('full')!.width, variants.get('full')!.height], [800, 600])
      assert.deepEqual([variants.get('thumb')!.width, variants.get('thumb')!.height], [150, 150])
      assert.ok(variants.get('full')!.bytes.length > 5_000)
    })
  }

  const sizes = {
    png16: ['300x200', '150x150'],
    png16grey: ['300x200', '150x150'],
    animatedGif: ['100x100', '100x100'],
    animatedWebp: ['100x100', '100x100'],
    onePixel: ['1x1', '1x1'],
    line: ['800x1', '1x1'],
    pillar: ['1x800', '1x1'],
    transparent: ['300x200', '150x150'],
  }
  for (const [name, [full, thumb]] of Object.entries(sizes)) {
    test(`from ${name}, never enlarged`, async (t) => {
      const variants = await made(t, name)
      const sizeOf = (variant: string) => `${variants.get(variant)!.width}x${variants.get(variant)!.height}`
      assert.deepEqual([sizeOf('full'), sizeOf('thumb')], [full, thumb])
    })
  }

  test('in every format and fit, from one decode', async (t) => {
    const variants = await made(t, 'jpeg', [
      { name: 'small', width: 200, height: 200, fit: 'inside', format: 'webp', quality: 70 },
      { name: 'full', width: 800, height: 800, fit: 'inside', format: 'jpeg', quality: 85 },
      { name: 'banner', width: 900, height: 100, fit: 'cover', format: 'jpeg', quality: 60 },
      { name: 'tiny', width: 32, height: 32, fit: 'cover', format: 'avif', quality: 40 },
    ])
    const sizes = [...variants].map(([name, { width, height }]) => `${name} ${width}x${height}`)
    assert.deepEqual(sizes.toSorted(), ['banner 900x100', 'full 800x600', 'small 200x150', 'tiny 32x32'])
  })

  test('with the first frame of an animation', async (t) => {
    const { full } = Object.fromEntries(await made(t, 'animatedGif'))
    const { dominant } = await sharp(full!.bytes).stats()
    assert.ok(dominant.r < 40 && dominant.b > 200, JSON.stringify(dominant))
  })

  test('with white where it was transparent', async (t) => {
    const { full } = Object.fromEntries(await made(t, 'transparent'))
    assert.deepEqual([...(await sharp(full!.bytes).raw().toBuffer()).subarray(0, 3)], [255, 255, 255])
  })

  test('with the colours of its ICC profile brought into sRGB', async (t) => {
    const { full } = Object.fromEntries(await made(t, 'wideGamut'))
    const [r, g, b] = await sharp(full!.bytes).raw().toBuffer()
    // sharp converted the sRGB red into Display P3 when it tagged the file; coming back it is the same red again.
    assert.ok(r! > 250 && g! < 8 && b! < 8, `${r} ${g} ${b}`)
  })

  for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8]) {
    test(`upright from EXIF orientation ${orientation}`, async (t) => {
      const { full } = Object.fromEntries(await made(t, `exif${orientation}`))
      assert.deepEqual([full!.width, full!.height], orientation < 5 ? [300, 200] : [200, 300])
      const { data, info } = await sharp(full!.bytes).raw().toBuffer({ resolveWithObject: true })
      const cornerAt = (x: number, y: number) => {
        const at = (y * info.width + x) * 3
        return [...data.subarray(at, at + 3)].map((value) => (value > 128 ? 1 : 0)).join('')
      }
      const corners = [
        cornerAt(5, 5),
        cornerAt(info.width - 6, 5),
        cornerAt(5, info.height - 6),
        cornerAt(info.width - 6, info.height - 6),
      ]
      const [red, green, blue, white] = ['100', '010', '001', '111']
      const upright: Record<number, (string | undefined)[]> = {
        1: [red, green, blue, white],
        2: [green, red, white, blue],
        3: [white, blue, green, red],
        4: [blue, white, red, green],
        5: [red, blue, green, white],
        6: [blue, red, white, green],
        7: [white, green, blue, red],
        8: [green, white, red, blue],
      }
      assert.deepEqual(corners, upright[orientation])
    })
  }
})

describe('what is no picture is rejected, with why', () => {
  const reasons = {
    empty: /is nothing \(0 bytes\); expected JPEG/,
    html: /is an HTML page/,
    json: /is JSON/,
    svg: /is an SVG/,
    tiff: /is a TIFF/,
    pdf: /is a PDF/,
    video: /is a video/,
    unknown: /bytes of an unknown kind/,
    jpegHeaderOnly: /cannot be decoded/,
    jpegCut: /cannot be decoded: VipsJpeg: premature end/,
    pngCut: /cannot be decoded/,
    jpegHole: /cannot be decoded/,
    jpegBomb: /has 65000 × 65000 pixels; expected at most 50 megapixels for jpeg/,
    jpegLiar: /cannot be decoded/,
    jpegLossless: /cannot be decoded/,
    longLine: /is 70000 × 1; expected sides of at most 65535/,
    largeAvif: /has 1200 × 1000 pixels; expected at most 1.1 megapixels for avif/,
  }
  for (const [name, why] of Object.entries(reasons)) {
    test(name, async (t) => {
      const result = await resized(t, name)
      assert.equal(result.status, 'rejected')
      if (result.status === 'rejected') {
        assert.match(result.why, why)
        assert.ok(!result.why.includes('\n') && result.why.length < 300)
      }
    })
  }
})
