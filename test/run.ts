import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Output } from './runner/output.ts'
import { Results } from './runner/results.ts'
import { RunServices } from './runner/run-services.ts'
import { schedule } from './runner/schedule.ts'
import { allTestFiles, needsOf, ROOT, select } from './runner/selection.ts'
import { shuffled, stallAtRandom } from './runner/stalls.ts'
import { runTestFile } from './runner/test-file.ts'
import { type LeftOver, processesUsing } from './services/left-over.ts'
import { SERVICE_NAMES } from './services/provide.ts'
import { bornAt, killGroup, killUsersOf, reaperPid, removeWithUs } from './services/reaper.ts'
import { tableOf } from './services/table.ts'

const USAGE = `node test/run.ts [file or part of a path]… [options]
  --name=<pattern>    only tests whose name matches the regular expression
  --concurrency=<n>   test files at a time
  --minutes=<n>       the whole run's ceiling, default 45
  --stalls            hold its processes up at random, and take files in random order: finds tests that need a quiet
                      machine, or each other (Linux)
  MILLRACE_REQUIRE_SERVICES=1   a missing service and a skipped test are failures
  MILLRACE_TEST_DOCKER=0        do not use docker
`
/** For processes that were told to end, and the second process of a test file that started a service. */
const LEFT_OVER_WITHIN_MS = 10_000
const SLOWEST_SHOWN = 5

const { values, positionals } = readArguments()
const required = process.env.MILLRACE_REQUIRE_SERVICES === '1'
const selection = select(positionals, allTestFiles())
if (selection.unknown.length > 0 || selection.files.length === 0) {
  console.error(`no test file matches: ${selection.unknown.join(', ') || '(anything)'}\n${USAGE}`)
  process.exit(2)
}

const outerTemporary = tmpdir()
// Everything of this run has its temporary folder in here, which marks its processes and takes what they leave behind.
const folder = mkdtempSync(join(realpathSync(outerTemporary), 'millrace-run-'))
process.env.TMPDIR = folder
removeWithUs(folder)
killUsersOf(folder)

const abort = new AbortController()
let signalCode: number | undefined
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, () => {
    // A second one does not wait: the exit listener of reaper.ts kills what is left.
    if (signalCode !== undefined) process.exit(code)
    signalCode = code
    abort.abort(new Error(`ended by ${signal}`))
  })
}
// `npm test | head`
process.stdout.on('error', () => process.exit(1))
const ceilingMs = Number(values.minutes) * 60_000
const ceiling = setTimeout(
  () => abort.abort(new Error(`not done within ${values.minutes} minutes`)),
  ceilingMs,
)

const problems: string[] = []
const results = new Results()
const startedAt = performance.now()
const needs = new Map(selection.files.map((file) => [file, needsOf(file)]))
const names =
  positionals.length === 0
    ? SERVICE_NAMES
    : SERVICE_NAMES.filter((name) => [...needs.values()].some((needed) => needed.has(name)))
const services = new RunServices(names)
await services.start(abort.signal)
console.log(`\n${names.length === 0 ? 'no service is needed\n' : tableOf(services.standings)}`)

const output = new Output(process.stdout)
const late = services.rest().then((standings) => {
  if (standings.length > 0) output.say(`\n${tableOf(standings)}`)
})
const calm = new AbortController()
const stalls = values.stalls
  ? stallAtRandom(
      folder,
      new Set([process.pid, reaperPid() ?? 0]),
      AbortSignal.any([calm.signal, abort.signal]),
    )
  : undefined
await schedule(values.stalls ? shuffled(selection.files) : selection.files, {
  concurrency: Number(values.concurrency),
  isReady: (file) => [...needs.get(file)!].every((name) => services.isSettled(name)),
  allReady: late,
  // Their brokers die and their clocks are tight: no neighbour takes their CPU.
  isAlone: (file) => relative(ROOT, file).startsWith('test/chaos/'),
  signal: abort.signal,
  async runFile(file) {
    const shown = output.begin(relative(ROOT, file))
    await runTestFile(file, {
      signal: abort.signal,
      namePattern: values.name,
      onEvent(event) {
        results.take(event)
        shown.show(event)
      },
    })
    shown.end()
  },
})
calm.abort()
await stalls
clearTimeout(ceiling)
await output.end()

for (const standing of services.standings) {
  if ('missing' in standing && required) problems.push(`missing service ${standing.missing}`)
}
if (abort.signal.aborted) {
  const running = results.running.map(({ file, name }) => `${file}: ${name}`)
  problems.push(`${abort.signal.reason.message}; running then: ${running.join('; ') || 'nothing'}`)
}
await services.stop()
await endLeftOvers()
const leftFiles = readdirSync(folder)
rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
conclude()

async function endLeftOvers(): Promise<void> {
  // In a run that was broken off, builds and tests are still at work: that is no fault of theirs.
  const { aborted } = abort.signal
  const endsAt = performance.now() + (aborted ? 500 : LEFT_OVER_WITHIN_MS)
  let left: LeftOver[]
  do {
    left = processesUsing(folder).filter(({ pid }) => pid !== process.pid && pid !== reaperPid())
    if (left.length > 0) await sleep(50)
  } while (left.length > 0 && performance.now() < endsAt)
  for (const { pid, command } of left) {
    if (!aborted) problems.push(`left behind: process ${pid} (${command.slice(0, 200)})`)
    killGroup(pid, bornAt(pid))
  }
}

function conclude(): void {
  const { failed, skipped, passed, durations } = results
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const slowest = [...durations].sort((a, b) => b[1] - a[1]).slice(0, SLOWEST_SHOWN)
  console.log(
    `\nslowest files: ${slowest.map(([file, ms]) => `${file} ${(ms / 1000).toFixed(1)} s`).join(', ')}`,
  )
  if (leftFiles.length > 0) console.log(`left in the temporary folder (removed): ${leftFiles.join(', ')}`)
  if (skipped.length > 0) {
    console.log(
      `\nSKIPPED: ${skipped.length}${required ? ', and MILLRACE_REQUIRE_SERVICES=1 allows none' : ''}`,
    )
    for (const { file, name, why } of skipped)
      console.log(`  ${file}: ${name}${why === '' ? '' : ` (${why})`}`)
    if (required) problems.push(`${skipped.length} skipped, 0 allowed`)
  }
  if (failed.length > 0) {
    console.log(`\nFAILED: ${failed.length}`)
    for (const { file, name } of failed) console.log(`  ${file}: ${name}`)
  }
  if (passed + failed.length + skipped.length === 0) problems.push('no test ran')
  for (const problem of problems) console.log(`\nPROBLEM: ${problem}`)
  const good = failed.length === 0 && problems.length === 0
  console.log(
    `\n${good ? 'passed' : 'FAILED'}: ${passed} passed, ${failed.length} failed, ${skipped.length} skipped, ${problems.length} problems in ${seconds} s`,
  )
  process.exit(signalCode ?? (good ? 0 : 1))
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        name: { type: 'string' },
        concurrency: { type: 'string', default: String(Math.max(2, Math.min(4, availableParallelism()))) },
        minutes: { type: 'string', default: '45' },
        stalls: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`)
    process.exit(2)
  }
}
