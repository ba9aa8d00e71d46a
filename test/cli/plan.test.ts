import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Millrace } from '../daemon/process.ts'

/** Limits whose sums can be done by hand, replies that begin at once but for a millisecond, and no quotas. */
const LIMITS = `limits:
  latency: 1ms
  quotas: { youtube: false, tiktok: false }
`

const NOTES = `
const anything = { safeParse: (data) => ({ success: true, data }) }
export default {
  name: 'notes',
  origin: 'https://notes.example',
  credentials: anything,
  endpoints: {
    list: { path: '/list', response: anything },
    search: { path: '/search', cost: 10, response: anything },
  },
  jobs: {
    sweep: { params: anything, calls: { list: 2, search: 0.5 }, run: async () => ({}) },
    guess: { params: anything, run: async () => ({}) },
  },
}
`

function folderOf(t: TestContext, files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-plan-'))
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

async function planned(cwd: string, ...args: string[]) {
  const ended = await new Millrace(['plan', ...args], { cwd }).ended
  assert.doesNotMatch(ended.stderr, /\n\s+at /, 'no stack')
  return { ...ended, lines: ended.stdout.split('\n') }
}

const objects = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

test('shows what each level needs and gives, and says in a sentence that it fits', async (t) => {
  const cwd = folderOf(t, { 'millrace.yaml': LIMITS })
  const { code, lines } = await planned(
    cwd,
    ...['--creators', '10000', '--every', '24h', '--platform', 'instagram'],
  )
  assert.equal(code, 0)
  assert.deepEqual(lines.slice(0, 7), [
    'instagram, full_profile_scrape (1 user_profile + 1 user_media)',
    '  level                            limit               needs  gives in 24h   load  one round',
    '  global                           15/s, burst 1,000  20,000     1,296,000   1.5%     21m 8s',
    '  platform:instagram               3/s, burst 200     20,000       259,200   7.7%     1h 51m',
    '  endpoint:instagram/user_profile  30 per 60s         10,000        43,199  23.1%     5h 34m',
    '  endpoint:instagram/user_media    20 per 60s         10,000        28,799  34.7%     8h 21m',
    'instagram: 10,000 creators every 24h need 20,000 calls; endpoint:instagram/user_media decides: ' +
      '20 per 60s → 1,199 an hour → one round takes 8h 21m, fits (load 34.7%)',
  ])
})

test('says how many creators would fit, and how often, when not all do', async (t) => {
  const cwd = folderOf(t, { 'millrace.yaml': LIMITS })
  const { code, stdout } = await planned(
    cwd,
    ...['--creators', '40000', '--every', '24h', '--job', 'profile', '--platform', 'instagram', 'tiktok'],
  )
  assert.equal(code, 1)
  // 25 per 60 s: 1.6 minutes for each 40, so 1,600 minutes.
  assert.match(
    stdout,
    /^tiktok: 40,000 creators every 24h need 40,000 calls; endpoint:tiktok\/user_info decides: 25 per 60s → 1,499 an hour → one round takes 1d 3h, does not fit \(load 111\.1%\): 35,999 would, or 40,000 every 1d 3h$/m,
  )
  assert.match(stdout, /^instagram: 40,000 creators .*, fits \(load 92\.6%\)$/m)
  assert.doesNotMatch(stdout, /youtube/)
})

test('the global level bears the creators of all platforms that are planned together', async (t) => {
  const cwd = folderOf(t, { 'millrace.yaml': `${LIMITS}  global: { rate: 1, burst: 100 }\n` })
  const together = await planned(cwd, '--creators', '20000', '--every', '1d', '--job', 'profile')
  assert.equal(together.code, 0)
  assert.match(together.stdout, /global +1\/s, burst 100 +60,000 +86,400 +69\.4%/)
  assert.match(
    together.stdout,
    /^youtube: .*; global decides, all platforms together: 1\/s, burst 100 → 3,600 an hour → one round takes 16h 39m, fits/m,
  )
})

test('a part of a period may use a part of a quota, and a round waits for new periods', async (t) => {
  const cwd = folderOf(t, { 'millrace.yaml': 'limits: { latency: 1ms }\n' })
  const hourly = await planned(cwd, '--creators', '100', '--every', '1h', '--platform', 'youtube')
  assert.equal(hourly.code, 0)
  assert.match(
    hourly.stdout,
    /; quota:youtube\/main decides: 10,000 units a day \(America\/Los_Angeles\), of which 1h may use its part, 416 → one round takes 2m 1s \(endpoint:youtube\/videos\), fits \(load 72\.0%\)/,
  )
  const daily = await planned(cwd, '--creators', '10000', '--every', '24h', '--platform', 'youtube')
  assert.equal(daily.code, 1)
  assert.match(
    daily.stdout,
    /need 30,000 calls; quota:youtube\/main decides: 10,000 units a day \(America\/Los_Angeles\) → one round takes at least 2d 0h, does not fit \(load 300\.0%\): 3,333 would, or 10,000 every 3d 0h/,
  )
  assert.match(
    daily.stdout,
    /^Counted in full, so this is the most that is needed: calls that jobs share .*\(youtube\/channel, youtube\/videos\)\.$/m,
  )
})

test('prints one JSON object for each platform', async (t) => {
  const cwd = folderOf(t, { 'millrace.yaml': LIMITS })
  const { code, stdout } = await planned(
    cwd,
    ...['--creators', '600', '--every', '1h', '--job', 'media', '--json'],
  )
  assert.equal(code, 1)
  const [instagram, ...others] = objects(stdout)
  assert.deepEqual(
    others.map(({ platform, fits, shared }) => [platform, fits, shared]),
    [
      ['tiktok', true, []],
      ['youtube', true, ['channel', 'videos']],
    ],
  )
  const { levels, load, roundMs, everyMsMin, ...rest } = instagram!
  assert.deepEqual(rest, {
    platform: 'instagram',
    jobType: 'media',
    creators: 600,
    everyMs: 3_600_000,
    latencyMs: 1,
    calls: { user_media: 3 },
    shared: [],
    requests: 1_800,
    fits: false,
    decisive: 'endpoint:instagram/user_media',
    slowest: 'endpoint:instagram/user_media',
    creatorsMax: 399,
  })
  // 1,800 calls at 20 in 60,001 ms.
  assert.ok(Math.abs((roundMs as number) - 5_400_090) < 1e-3, String(roundMs))
  assert.ok(Math.abs((everyMsMin as number) - 5_400_090) < 1e-3, String(everyMsMin))
  assert.ok(Math.abs((load as number) - 1.500_025) < 1e-9, String(load))
  assert.deepEqual(
    (levels as { level: string; kind: string; needed: number }[]).map(({ level, kind, needed }) => [
      level,
      kind,
      needed,
    ]),
    [
      ['global', 'bucket', 1_800 + 600 + 600 * 7],
      ['platform:instagram', 'bucket', 1_800],
      ['endpoint:instagram/user_media', 'window', 1_800],
    ],
  )
})

test("plans a user's own platform with its costs, and says in one line when it declares no calls", async (t) => {
  const cwd = folderOf(t, {
    'notes.js': NOTES,
    'package.json': '{"type":"module"}',
    'millrace.yaml': `${LIMITS}  platforms: { notes: { rate: 1, burst: 50, counts: units } }\nplatforms: { notes: { module: ./notes.js } }\n`,
  })
  // The first job type, since there is no full_profile_scrape: 2 × 1 + 0.5 × 10 units.
  const sweep = await planned(cwd, '--creators', '100', '--every', '1h', '--platform', 'notes')
  assert.equal(sweep.code, 0)
  assert.equal(sweep.lines[0], 'notes, sweep (2 list + 0.5 search)')
  assert.match(sweep.stdout, /platform:notes +1 units\/s, burst 50 +700 +3,600 +19\.4% +10m 51s/)
  assert.match(sweep.stdout, /^notes: 100 creators every 1h need 250 calls; platform:notes decides: /m)

  const guess = ['--creators', '100', '--every', '1h', '--job', 'guess']
  const text = await planned(cwd, ...guess)
  assert.equal(text.code, 1)
  assert.match(text.stdout, /^notes: the job type guess does not declare the `calls` it makes, .*$/m)
  assert.match(text.stdout, /^left out, .* no job type guess: instagram, tiktok, youtube$/m)
  const json = await planned(cwd, ...guess, '--json')
  assert.deepEqual(
    objects(json.stdout).map(({ platform, calls, fits }) => [platform, calls, fits]),
    [['notes', null, null]],
  )
})

test('with divided limits the creators are those of one daemon, and it says so', async (t) => {
  const cwd = folderOf(t, { 'millrace.yaml': `${LIMITS}  share: 1/2\n` })
  const args = ['--creators', '10000', '--every', '24h', '--platform', 'instagram']
  const { stdout } = await planned(cwd, ...args)
  assert.match(stdout, /endpoint:instagram\/user_media +10 per 60s +10,000 +14,399 +69\.4%/)
  assert.match(
    stdout,
    /^limits\.share: these are the creators of one daemon, which has 50\.0% of every limit/m,
  )
})

test('refuses what cannot be planned in one line each, with exit code 2', async (t) => {
  const cwd = folderOf(t, {})
  for (const [args, line] of [
    [['--every', '1h'], /^error: required option '--creators <n>' not specified$/],
    [['--creators', '10'], /^error: required option '--every <duration>' not specified$/],
    [['--creators', '0', '--every', '1h'], /found "0", expected a whole number from 1 to/],
    [['--creators', '10', '--every', '0s'], /found "0s", expected a duration such as 12h or 7d$/],
    [['--creators', '10', '--every', 'daily'], /found "daily", expected a duration such as 12h or 7d$/],
    [
      ['--creators', '10', '--every', '1h', '--platform', 'myspace'],
      /^millrace: plan: --platform: found "myspace", expected one of instagram, tiktok, youtube$/,
    ],
    [
      ['--creators', '10', '--every', '1h', '--platform', 'tiktok', 'youtube', '--job', 'media_pages'],
      /^millrace: plan: --job: found "media_pages", expected a job type: tiktok has full_profile_scrape, profile, media; youtube has /,
    ],
  ] as const) {
    const { code, stdout, stderr } = await planned(cwd, ...args)
    assert.equal(code, 2, stderr)
    assert.equal(stdout, '')
    assert.match(stderr.trimEnd(), line)
    assert.equal(stderr.trimEnd().split('\n').length, 1)
  }
})
