import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { type ChaosOptions, runChaos } from './chaos.ts'
import { reportOf } from './report.ts'

const USAGE = `node test/chaos/run.ts [options]
  --seed <n>      decides which fault strikes whom, when and for how long; default: a new one
  --jobs <n>      default 20000
  --faults <n>    default 30; every kind comes twice from 26 on
  --daemons <n>   default 3
  --rate <n>      jobs a second that the limits allow, default 70
  --logs <dir>    keep the daemons' logs there
  --json          the summary as JSON on standard output, everything else on standard error
`

const abort = new AbortController()
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  process.on(signal, () => {
    // A second one does not wait: what is left is killed on exit.
    if (abort.signal.aborted) process.exit(code)
    process.exitCode = code
    abort.abort(new Error(`ended by ${signal}`))
  })
}

const { json, ...options } = readArguments()
const say = json ? console.error : console.log
const again = `node test/chaos/run.ts --seed ${options.seed} --jobs ${options.jobs} --faults ${options.faults} --daemons ${options.daemons} --rate ${options.rate}`
say(`seed ${options.seed}`)
try {
  const summary = await runChaos({ ...options, signal: abort.signal, say })
  if (json) console.log(JSON.stringify(summary, null, 2))
  else say(`\n${reportOf(summary)}`)
  const { problems } = summary.books
  for (const problem of problems.slice(0, 20)) say(`PROBLEM: ${problem}`)
  if (problems.length > 20) say(`PROBLEM: and ${problems.length - 20} more`)
  if (problems.length > 0) fail()
} catch (error) {
  say(`FAILED: ${(error as Error).stack ?? String(error)}`)
  fail()
}
// Clients of services that died may hold a socket for a while.
process.exit()

function fail(): void {
  process.exitCode ??= 1
  say(`\nthe same faults again, though they will meet other moments of the work:\n  ${again}`)
}

function readArguments(): Omit<ChaosOptions, 'signal' | 'say'> & { json: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        seed: { type: 'string', default: String(randomInt(1, 1_000_000)) },
        jobs: { type: 'string', default: '20000' },
        faults: { type: 'string', default: '30' },
        daemons: { type: 'string', default: '3' },
        rate: { type: 'string', default: '70' },
        logs: { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    })
    const whole = (name: 'seed' | 'jobs' | 'faults' | 'daemons' | 'rate', min: number) => {
      const value = Number(values[name])
      if (!Number.isInteger(value) || value < min)
        throw new Error(`--${name}: expected a whole number from ${min}`)
      return value
    }
    return {
      seed: whole('seed', 0),
      jobs: whole('jobs', 100),
      faults: whole('faults', 0),
      daemons: whole('daemons', 2),
      rate: whole('rate', 3),
      sessionMs: 6_000,
      calmMs: 3_000,
      logs: values.logs,
      json: values.json,
    }
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`)
    process.exit(2)
  }
}
