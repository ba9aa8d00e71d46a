import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import sharp from 'sharp'
import { Millrace } from '../daemon/process.ts'
import { drawn } from '../images/sources.ts'

interface Line {
  readonly status: string
  readonly file: string
  readonly variant?: string
  readonly path?: string
  readonly key?: string
  readonly width?: number
  readonly height?: number
  readonly bytes?: number
  readonly thumbhash?: string
  readonly why?: string
  readonly source?: { readonly format: string; readonly bytes: number; readonly sha256: string }
  readonly ms?: Record<string, number>
}

async function folderWith(t: TestContext, files: Record<string, Uint8Array | string>): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-resize-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
  return folder
}

const linesOf = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
const jpeg = (seed: number) => drawn(1080, 720, seed).jpeg().toBuffer()

test('files become what the daemon would store, with everything about them', async (t) => {
  const body = await jpeg(1)
  const cwd = await folderWith(t, { 'a.jpg': body, 'b.png': await drawn(300, 300).png().toBuffer() })
  const { code, stdout, stderr } = await new Millrace(['resize', 'a.jpg', 'b.png', '--json'], { cwd }).ended
  assert.equal(code, 0, stderr)
  const lines = linesOf(stdout).toSorted((a, b) => a.path!.localeCompare(b.path!))
  assert.deepEqual(
    lines.map(({ status, path, width, height }) => [status, path, width, height]),
    [
      ['written', join('resized', 'a.full.jpg'), 800, 533],
      ['written', join('resized', 'a.thumb.jpg'), 150, 150],
      ['written', join('resized', 'b.full.jpg'), 300, 300],
      ['written', join('resized', 'b.thumb.jpg'), 150, 150],
    ],
  )
  const sha256 = createHash('sha256').update(body).digest('hex')
  const [full] = lines
  assert.deepEqual(full?.source, { format: 'jpeg', bytes: body.length, sha256 })
  assert.equal(full?.key, `pictures/${sha256.slice(0, 2)}/${sha256}/full.jpg`)
  assert.match(full?.thumbhash ?? '', /^[\w+/=]{20,}$/)
  assert.deepEqual(Object.keys(full?.ms ?? {}), ['read', 'wait', 'decode', 'encode', 'write'])
  for (const { path, bytes, width, height } of lines) {
    const written = readFileSync(join(cwd, path!))
    assert.equal(written.length, bytes)
    const found = await sharp(written).metadata()
    assert.deepEqual([found.format, found.width, found.height], ['jpeg', width, height])
  }
  assert.match(stderr, /^2 pictures resized in .* 4 files of [\d,]+ bytes written to /)
  assert.deepEqual(readdirSync(cwd).toSorted(), ['a.jpg', 'b.png', 'resized'], 'nothing of a daemon’s')
})

test('the variants are those of the configuration', async (t) => {
  const cwd = await folderWith(t, {
    'a.jpg': await jpeg(2),
    'millrace.yaml':
      'images: { variants: [{ name: wide, width: 640, height: 90, fit: cover, format: webp }] }',
  })
  const { code, stdout } = await new Millrace(['resize', 'a.jpg', '--out', 'deep/er'], { cwd }).ended
  assert.equal(code, 0)
  assert.match(
    stdout,
    /^a\.jpg: jpeg, [\d,]+ bytes, sha256 [0-9a-f]{12}…, read \d+, wait \d+, decode \d+, encode \d+ ms\n {2}wide 640 × 90, [\d,]+ bytes: deep\/er\/a\.wide\.webp\n1 picture resized/,
  )
  const { format, width } = await sharp(readFileSync(join(cwd, 'deep/er/a.wide.webp'))).metadata()
  assert.deepEqual([format, width], ['webp', 640])
})

test('what is wrong with one is told, and the others go on', async (t) => {
  const good = await jpeg(3)
  const cwd = await folderWith(t, {
    'good.jpg': good,
    'cut.jpg': good.subarray(0, good.length / 2),
    'page.jpg': '<!doctype html><p>Not found',
    'empty.jpg': '',
    'folder/x': '',
    'large.jpg': Buffer.alloc(2_000_001),
    'millrace.yaml': 'images: { bytes_max: 2MB }',
  })
  const rejected = await new Millrace(
    ['resize', 'cut.jpg', 'page.jpg', 'empty.jpg', 'large.jpg', '/dev/zero', 'good.jpg', '--json'],
    { cwd },
  ).ended
  assert.equal(rejected.code, 1, rejected.stderr)
  const why = new Map(linesOf(rejected.stdout).map((line) => [line.file, line.why ?? line.status]))
  assert.match(why.get('cut.jpg')!, /cannot be decoded/)
  assert.match(why.get('page.jpg')!, /is an HTML page; expected JPEG/)
  assert.match(why.get('empty.jpg')!, /is nothing/)
  assert.match(why.get('large.jpg')!, /has 2000001 bytes; expected at most 2000000 \(images\.bytes_max\)/)
  assert.match(why.get('/dev/zero')!, /has more than 2000000 bytes/)
  assert.equal(why.get('good.jpg'), 'written')
  assert.match(rejected.stderr, /1 picture resized .*, 5 rejected$/m)

  const absent = await new Millrace(['resize', 'gone.jpg', 'folder', 'good.jpg', '--out', 'second'], { cwd })
    .ended
  assert.equal(absent.code, 2)
  assert.match(absent.stderr, /^millrace: resize: gone\.jpg: there is no such file$/m)
  assert.match(absent.stderr, /^millrace: resize: folder: is a folder; expected files, such as folder\/\*$/m)
  assert.doesNotMatch(absent.stderr, /\n\s+at /)
  assert.ok(existsSync(join(cwd, 'second/good.full.jpg')))
})

test('nothing is written over: sources never, other files only when asked to', async (t) => {
  const [one, two] = [await jpeg(4), await jpeg(5)]
  const cwd = await folderWith(t, { 'x/p.jpg': one, 'y/P.jpg': two, 'p.full.jpg': two })
  // The same name twice, and the name of a source of the same run.
  const first = await new Millrace(['resize', 'x/p.jpg', 'y/P.jpg', 'p.full.jpg', '-o', '.', '--overwrite'], {
    cwd,
  }).ended
  assert.equal(first.code, 1, first.stderr)
  assert.match(first.stdout, /not written: p\.full\.jpg is one of the sources/)
  assert.deepEqual(readFileSync(join(cwd, 'p.full.jpg')), two)
  assert.deepEqual(
    readdirSync(cwd).toSorted(),
    [
      'P-2.full.jpg',
      'P-2.thumb.jpg',
      'p.full.full.jpg',
      'p.full.jpg',
      'p.full.thumb.jpg',
      'p.thumb.jpg',
      'x',
      'y',
    ].toSorted(),
  )
  const before = readFileSync(join(cwd, 'p.thumb.jpg'))
  writeFileSync(join(cwd, 'p.thumb.jpg'), 'mine')
  const again = await new Millrace(['resize', 'x/p.jpg', '-o', '.'], { cwd }).ended
  assert.equal(again.code, 1)
  assert.match(again.stdout, /p\.thumb\.jpg is there already; --overwrite replaces it/)
  assert.equal(readFileSync(join(cwd, 'p.thumb.jpg'), 'utf8'), 'mine')
  const replaced = await new Millrace(['resize', 'x/p.jpg', '-o', '.', '--overwrite'], { cwd }).ended
  assert.equal(replaced.code, 0, replaced.stdout)
  assert.deepEqual(readFileSync(join(cwd, 'p.thumb.jpg')), before)
})

test('standard input is a source, once', async (t) => {
  const cwd = await folderWith(t, {})
  const svg = '<svg xmlns="http://www.w3.org/2000/svg"/>'
  const read = await new Millrace(['resize', '-', '--json'], { cwd, stdin: svg }).ended
  assert.equal(read.code, 1)
  assert.match(linesOf(read.stdout)[0]?.why ?? '', /^is an SVG/)
  const twice = await new Millrace(['resize', '-', '-'], { cwd }).ended
  assert.equal(twice.code, 2)
  assert.match(twice.stderr, /^millrace: resize: found - twice/)
})

test('many files are worked on at once, each told of when it is done, also into a pipe that is closed early', async (t) => {
  const files = Object.fromEntries(
    await Promise.all(Array.from({ length: 24 }, async (_, i) => [`${i}.jpg`, await jpeg(i)] as const)),
  )
  const cwd = await folderWith(t, files)
  const command = new Millrace(['resize', ...Object.keys(files)], { cwd })
  await command.says(/\.jpg: jpeg/)
  command.child.stdout?.destroy()
  const { code, stderr } = await command.ended
  assert.equal(code, 0, stderr)
  assert.equal(readdirSync(join(cwd, 'resized')).length, 48)
})

test('told to stop, it stops taking files and says so', async (t) => {
  const body = await jpeg(6)
  const cwd = await folderWith(
    t,
    Object.fromEntries(
      Array.from({ length: 600 }, (_, i) => [`${i}.jpg`, Buffer.concat([body, Buffer.from(String(i))])]),
    ),
  )
  const command = new Millrace(['resize', ...Array.from({ length: 600 }, (_, i) => `${i}.jpg`)], { cwd })
  await command.says(/\.jpg: jpeg/)
  const { code, stdout, stderr } = await command.stop()
  assert.equal(code, 1, stderr)
  assert.match(stdout, /^stopped: \d+ pictures? resized/m)
  assert.ok(
    readdirSync(join(cwd, 'resized')).every((name) => !name.startsWith('.')),
    'nothing half written',
  )
})
