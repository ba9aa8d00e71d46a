import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { MillraceError } from '../../src/job/errors.ts'
import { BUILT_IN, loadPlatform } from '../../src/platforms/registry.ts'

const repository = fileURLToPath(new URL('../..', import.meta.url))

test('three platforms come built in, with the endpoint names that limits are configured by', () => {
  const names = [...BUILT_IN].map(([name, { endpoints }]) => [name, Object.keys(endpoints)])
  assert.deepEqual(names, [
    ['instagram', ['user_profile', 'user_media', 'media_details']],
    ['tiktok', ['user_info', 'video_query', 'token']],
    ['youtube', ['channel', 'playlist_items', 'videos']],
  ])
  for (const platform of BUILT_IN.values()) {
    for (const type of ['full_profile_scrape', 'profile', 'media']) assert.ok(platform.jobs[type], type)
  }
})

test('loads a platform from a TypeScript file, relative to the configuration', async () => {
  const path = './examples/identity-check/identity-check.ts'
  const platform = await loadPlatform(path, { directory: repository, name: 'identity' })
  assert.equal(platform.name, 'identity')
})

test('says what is wrong with a module that is not a platform', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-registry-'))
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 10 }))
  const cases: [file: string, text: string | undefined, code: string, message: RegExp][] = [
    ['absent.mjs', undefined, 'PLATFORM_MODULE', /absent\.mjs: not found/],
    ['throws.mjs', 'throw new Error("no luck")', 'PLATFORM_MODULE', /failed while loading: no luck/],
    ['syntax.ts', 'const = 1', 'PLATFORM_MODULE', /failed while loading/],
    ['bare.mjs', 'export const name = "x"', 'PLATFORM_INVALID', /no default export/],
    [
      'half.mjs',
      'export default { name: "half" }',
      'PLATFORM_INVALID',
      /origin nothing.*endpoints: expected at least one/,
    ],
  ]
  for (const [file, text, code, message] of cases) {
    if (text !== undefined) await writeFile(join(directory, file), text)
    await assert.rejects(loadPlatform(file, { directory }), (error) => {
      assert.ok(error instanceof MillraceError, file)
      assert.equal(error.kind, 'usage')
      assert.equal(error.code, code)
      assert.match(error.message, message)
      return true
    })
  }
})

test('refuses a module that calls itself otherwise than the configuration does', async () => {
  const path = './examples/identity-check/identity-check.ts'
  await assert.rejects(
    loadPlatform(path, { directory: repository, name: 'register' }),
    /its name is identity, expected register/,
  )
})
