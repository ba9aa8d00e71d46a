import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { ConfigError, loadConfig } from '../../src/config/load.ts'

function written(t: { after(fn: () => void): void }, yaml: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-config-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  const file = join(folder, 'millrace.yaml')
  writeFileSync(file, yaml)
  return file
}

function problemsOf(load: () => unknown): readonly string[] {
  try {
    load()
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    assert.equal(error.kind, 'usage')
    return error.problems
  }
  assert.fail('expected the configuration to be refused')
}

test('every key has a default, and the defaults are the published ones', () => {
  const config = loadConfig({ file: null, env: {} })
  assert.deepEqual(config.limits.global, { rate: 15, burst: 1000 })
  assert.deepEqual(config.limits.platforms.tiktok, { rate: 1.5, burst: 100 })
  assert.deepEqual(config.limits.endpoints.instagram?.user_profile, {
    limit: 30,
    window: 60_000,
    mode: 'causal',
  })
  assert.deepEqual(config.limits.default_endpoint, { limit: 60, window: 60_000, mode: 'causal' })
  assert.equal(config.fetch.in_flight_max, 4096)
  assert.equal(config.fetch.sockets_per_host, 30)
  assert.equal(config.fetch.timeout, 30_000)
  assert.equal(config.admin.port, 9464)
  assert.equal(config.kafka, undefined)
})

test('all problems are told at once, each with its line, what was found and what was expected', (t) => {
  const file = written(t, 'fetch:\n  timeout: 5\n  connect_timeot: 3s\nbogus: 1\nadmin:\n  port: 99999\n')
  const problems = problemsOf(() => loadConfig({ file, env: {} }))
  assert.equal(problems.length, 4)
  assert.match(problems.join('\n'), /millrace\.yaml:2: fetch\.timeout: found 5, expected a duration/)
  assert.match(
    problems.join('\n'),
    /millrace\.yaml:3: fetch\.connect_timeot: unknown key; expected one of .*connect_timeout/,
  )
  assert.match(problems.join('\n'), /millrace\.yaml:4: bogus: unknown key; expected one of .*kafka/)
  assert.match(problems.join('\n'), /millrace\.yaml:6: admin\.port: found 99999/)
})

test('a file that cannot be read, is no YAML or no mapping is one clear problem', (t) => {
  assert.match(
    problemsOf(() => loadConfig({ file: '/nowhere/millrace.yaml', env: {} }))[0] ?? '',
    /cannot be read \(ENOENT\)/,
  )
  assert.match(
    problemsOf(() => loadConfig({ file: written(t, 'a: [1'), env: {} }))[0] ?? '',
    /millrace\.yaml:\d+: /,
  )
  assert.match(
    problemsOf(() => loadConfig({ file: written(t, '- 1'), env: {} }))[0] ?? '',
    /found a list, expected a mapping/,
  )
})

test('fills ${NAME} from the environment and keeps a secret of digits a text', (t) => {
  const yaml = [
    'redis:',
    '  url: redis://${HOST}:6379',
    '  password: ${SECRET}',
    'admin:',
    '  port: ${PORT}',
    'log:',
    '  level: ${LEVEL:-warn}',
  ].join('\n')
  const config = loadConfig({
    file: written(t, yaml),
    env: { HOST: 'cache', SECRET: '000123', PORT: '8080' },
  })
  assert.equal(config.redis?.url, 'redis://cache:6379')
  assert.equal(config.redis?.password, '000123')
  assert.equal(config.admin.port, 8080)
  assert.equal(config.log.level, 'warn')
})

test('names a variable that the file wants and the environment lacks', (t) => {
  const file = written(t, 'redis:\n  password: ${NOT_THERE}\n')
  assert.match(
    problemsOf(() => loadConfig({ file, env: {} }))[0] ?? '',
    /redis\.password: the environment has no NOT_THERE/,
  )
})

test('MILLRACE_<SECTION>__<KEY> overrides the file, and other MILLRACE_ variables are not ours to judge', (t) => {
  const file = written(t, 'fetch:\n  attempts: 2\n')
  const env = {
    MILLRACE_FETCH__ATTEMPTS: '5',
    MILLRACE_KAFKA__BROKERS: 'one:9092, two:9092',
    MILLRACE_LIMITS__SHARE: '1/4',
    MILLRACE_DATA: '/tmp/x',
    MILLRACE_REQUIRE_SERVICES: '1',
  }
  const config = loadConfig({ file, env })
  assert.equal(config.fetch.attempts, 5)
  assert.deepEqual(config.kafka?.brokers, ['one:9092', 'two:9092'])
  assert.equal(config.limits.share, 0.25)
  assert.equal(config.data, '/tmp/x')
  const problems = problemsOf(() => loadConfig({ file: null, env: { MILLRACE_FETCH__ATTEMPS: '5' } }))
  assert.match(problems[0] ?? '', /^MILLRACE_FETCH__ATTEMPS: fetch\.attemps: unknown key/)
})

test("a platform's module lies beside the file that names it; one from the environment is left as it is", (t) => {
  const file = written(t, 'platforms:\n  own: { module: ./own.ts }\n  other: { module: /srv/other.ts }\n')
  const { platforms } = loadConfig({ file, env: { MILLRACE_PLATFORMS__THIRD__MODULE: './third.ts' } })
  assert.equal(platforms.own?.module, join(dirname(file), 'own.ts'))
  assert.equal(platforms.other?.module, '/srv/other.ts')
  assert.equal(platforms.third?.module, './third.ts')
})

test('never prints the value of a secret', (t) => {
  const file = written(t, 'redis:\n  password: [hush-hush]\n')
  const problems = problemsOf(() => loadConfig({ file, env: {} }))
  assert.match(problems[0] ?? '', /redis\.password: found a value that is not shown, expected string/)
})

test('refuses Kafka without shared limits unless they are divided explicitly', () => {
  const env = { MILLRACE_KAFKA__BROKERS: 'one:9092' }
  assert.match(problemsOf(() => loadConfig({ file: null, env }))[0] ?? '', /limits\.share: 1\/3/)
  assert.equal(loadConfig({ file: null, env: { ...env, MILLRACE_LIMITS__SHARE: '1/3' } }).limits.share, 1 / 3)
})

test('changing one limit keeps the others', (t) => {
  const yaml = 'limits:\n  endpoints:\n    instagram:\n      user_profile: { limit: 200, window: 1h }\n'
  const { limits } = loadConfig({ file: written(t, yaml), env: {} })
  assert.deepEqual(limits.endpoints.instagram?.user_profile, {
    limit: 200,
    window: 3_600_000,
    mode: 'causal',
  })
  assert.deepEqual(limits.endpoints.instagram?.user_media, { limit: 20, window: 60_000, mode: 'causal' })
  assert.deepEqual(limits.endpoints.youtube?.channel, { limit: 100, window: 60_000, mode: 'causal' })
})
