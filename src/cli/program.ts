import { existsSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { secretsOf } from '../config/secrets.ts'
import { parseDuration } from '../config/values.ts'
import { version } from '../version.ts'
import type { DemoOptions } from './demo.ts'
import type { DlqFilter, DlqReplayOptions } from './dlq.ts'
import { EXIT } from './exit.ts'
import type { Terminal } from './terminal.ts'

const DEFAULT_FILE = 'millrace.yaml'

interface WithConfig {
  readonly config?: string
}

interface PlanArguments extends WithConfig {
  readonly creators: number
  readonly every: number
  readonly platform?: readonly string[]
  readonly job?: string
  readonly json?: boolean
}

interface SweepArguments {
  readonly grace: string
  readonly maxShare: number
  readonly dryRun?: boolean
  readonly json?: boolean
}

/** Each command loads its own part of the program when it runs: the picture codec and the database are heavy. */

/** Parses the command line, runs the command, and resolves with the exit code. Throws MillraceError for what `failure` explains. */
export async function program(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.done
  const root = new Command('millrace')
    .description('Follow many creators: every permitted call used, none over the limit, no job lost.')
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.stdout.write(text),
      writeErr: (text) => terminal.stderr.write(text),
    })

  const configOf = (options: WithConfig): Config => {
    const file = options.config ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : null)
    const config = loadConfig({ file, env: terminal.env })
    terminal.secrets.add(secretsOf(config))
    return config
  }
  const withConfig = (command: Command) =>
    command.option('-c, --config <file>', `configuration (default: ./${DEFAULT_FILE})`)

  withConfig(root.command('run'))
    .description('run the daemon: take jobs from Kafka, or from NDJSON, until told to stop')
    .option('-i, --input <file>', 'NDJSON of jobs when there is no Kafka; - is standard input')
    .action(async (options: WithConfig & { input?: string }) => {
      const { run } = await import('./run.ts')
      exitCode = await run(
        configOf(options),
        { ...(options.input === undefined ? {} : { input: options.input }) },
        terminal,
      )
    })

  root
    .command('demo')
    .description('run the main job on embedded parts against the simulator, and show what came of it')
    .option('--creators <n>', 'creators on each platform', whole(1, 10_000), 100)
    .option(
      '--folder <path>',
      'where its data goes; a folder of an earlier demo is replaced',
      './millrace-demo',
    )
    .option('--port <n>', 'port of the admin page; 0 takes any', whole(0, 65535), 9464)
    .option(
      '--api-port <n>',
      'port of the analytics API (default: 9480, or any with --port 0)',
      whole(0, 65535),
    )
    .option(
      '--stay',
      'keep the admin page and the API after the work is done, as in a terminal, until a signal',
    )
    .action(async ({ stay = false, ...options }: Omit<DemoOptions, 'stay'> & { stay?: boolean }) => {
      const { demo } = await import('./demo.ts')
      exitCode = await demo({ ...options, stay }, terminal)
    })

  withConfig(root.command('api'))
    .description('serve the analytics API; with embedded parts set api.enabled and use `run`')
    .action(async (options: WithConfig) => {
      const { api } = await import('./api.ts')
      exitCode = await api(configOf(options), terminal)
    })

  withConfig(root.command('check'))
    .description('check the configuration, and whether each part answers')
    .addOption(new Option('--json', 'print JSON'))
    .action(async (options: WithConfig & { json?: boolean }) => {
      const { check } = await import('./check.ts')
      exitCode = await check(configOf(options), { json: options.json === true }, terminal)
    })

  withConfig(root.command('migrate'))
    .description('bring the ClickHouse schema up to date')
    .option(
      '--plan',
      'print the SQL that it would run, and run nothing; exit code 0 whether there is any or not',
    )
    .addOption(new Option('--json', 'print one JSON object for each step'))
    .action(async (options: WithConfig & { plan?: boolean; json?: boolean }) => {
      const { migrateDatabase } = await import('./migrate.ts')
      const { plan = false, json = false } = options
      exitCode = await migrateDatabase(configOf(options), { plan, json }, terminal)
    })

  withConfig(root.command('enqueue'))
    .description('publish a job to Kafka, or NDJSON from standard input')
    .argument('[platform]')
    .argument('[creator_id]')
    .argument('[job_type]')
    .option('--priority <n>', '1 to 10', whole(1, 10))
    .option('--params <json>', "the adapter's own parameters")
    .option('--topic <name>', 'default: the one of kafka.topics that is the platform’s, or any’s')
    .action(async (platform, creatorId, jobType, options) => {
      const { enqueue } = await import('./enqueue.ts')
      exitCode = await enqueue(configOf(options), { platform, creatorId, jobType, ...options }, terminal)
    })

  const dlq = root.command('dlq').description('dead letters: look at them, and send them back')
  const narrowed = (command: Command, reason: string) =>
    withConfig(command)
      .option('--reason <codes...>', reason)
      .option('--platform <name>', 'only of this platform')
      .option('--since <time>', 'given up since then: 2h for two hours ago, or RFC 3339')

  narrowed(dlq.command('list'), 'only with one of these reasons')
    .description('count them by platform and reason, with the newest of each')
    .addOption(new Option('--json', 'print one JSON object for each group'))
    .action(async (options: WithConfig & DlqFilter & { json?: boolean }) => {
      const { dlqList } = await import('./dlq.ts')
      exitCode = await dlqList(configOf(options), { ...options, json: options.json === true }, terminal)
    })

  withConfig(dlq.command('show'))
    .description('print one of them, with its headers and its value decoded')
    .argument('<id>', 'partition-offset, such as 3-1207')
    .addOption(new Option('--json', 'print JSON'))
    .action(async (id: string, options: WithConfig & { json?: boolean }) => {
      const { dlqShow } = await import('./dlq.ts')
      exitCode = await dlqShow(configOf(options), { id, json: options.json === true }, terminal)
    })

  narrowed(dlq.command('replay'), 'those with one of these reasons')
    .description('send them back to where they came from, each once')
    .option('--id <ids...>', 'those with these ids, such as 3-1207')
    .option('--dry-run', 'say what would be sent, and send nothing')
    .option('--rate <rate>', 'at most so many a second, such as 50/s')
    .action(async (options: WithConfig & Omit<DlqReplayOptions, 'dryRun'> & { dryRun?: boolean }) => {
      const { dlqReplay } = await import('./dlq.ts')
      exitCode = await dlqReplay(configOf(options), { ...options, dryRun: options.dryRun === true }, terminal)
    })

  withConfig(root.command('resize'))
    .description('what the daemon would make of pictures: by the same pool, written to a folder')
    .argument('<files...>', '- is standard input')
    .option('-o, --out <folder>', 'created when it is not there', './resized')
    .option('--overwrite', 'replace what is there already; never one of the files themselves')
    .addOption(new Option('--json', 'print one JSON object for each file and variant'))
    .action(
      async (files: string[], options: WithConfig & { out: string; overwrite?: boolean; json?: boolean }) => {
        const { resize } = await import('./resize.ts')
        const { out, overwrite = false, json = false } = options
        exitCode = await resize(configOf(options), { files, out, overwrite, json }, terminal)
      },
    )

  const pictures = root.command('pictures').description('the stored pictures against the rows that name them')

  withConfig(pictures.command('verify'))
    .description('name rows whose object is missing or cut short; exit code 1 when there are any')
    .option('--deep', 'read every object, and see that it is a whole picture')
    .addOption(new Option('--json', 'print one JSON object for each'))
    .action(async (options: WithConfig & { deep?: boolean; json?: boolean }) => {
      const { verify } = await import('./pictures.ts')
      const { deep = false, json = false } = options
      exitCode = await verify(configOf(options), { deep, json }, terminal)
    })

  withConfig(pictures.command('sweep'))
    .description('delete objects that no row names and that are older than the grace period')
    .option('--grace <duration>', 'younger ones are kept', '7d')
    .option('--max-share <share>', 'refuse when more of the objects would go', share, 0.5)
    .option('--dry-run', 'name them, and delete nothing')
    .addOption(new Option('--json', 'print one JSON object for each'))
    .action(async (options: WithConfig & SweepArguments) => {
      const { sweep } = await import('./pictures.ts')
      const { dryRun = false, json = false } = options
      exitCode = await sweep(configOf(options), { ...options, dryRun, json }, terminal)
    })

  withConfig(root.command('query'))
    .description('run a SELECT on the database, embedded or not')
    .argument('<sql>')
    .option('--data <folder>', 'folder of the embedded database')
    .addOption(new Option('--json', 'print NDJSON'))
    .action(async (sql: string, options: WithConfig & { data?: string; json?: boolean }) => {
      const config = configOf(options)
      const where =
        options.data === undefined ? config : { ...config, data: options.data, clickhouse: undefined }
      const { query } = await import('./query.ts')
      exitCode = await query(where, { sql, json: options.json === true }, terminal)
    })

  withConfig(root.command('limits'))
    .description(
      'show each level of the limits live: of all daemons with Redis, else of the daemon that answers',
    )
    .option('-w, --watch', 'look again every second, until Ctrl-C')
    .addOption(new Option('--json', 'print one JSON object for each level'))
    .option(
      '--url <address>',
      'ask the daemon with this admin address (default: Redis, or admin.host and port)',
    )
    .action(async (options: WithConfig & { watch?: boolean; json?: boolean; url?: string }) => {
      const { limits } = await import('./limits.ts')
      const { url } = options
      exitCode = await limits(
        configOf(options),
        {
          watch: options.watch === true,
          json: options.json === true,
          ...(url === undefined ? {} : { url }),
        },
        terminal,
      )
    })

  withConfig(root.command('plan'))
    .description(
      'how long creators take under the configured limits, and which level decides; exit code 1 when they do not fit',
    )
    .requiredOption('--creators <n>', 'creators on each platform', whole(1, 1_000_000_000))
    .requiredOption('--every <duration>', 'each of them once in this time, e.g. 24h', periodMs)
    .option('--platform <names...>', 'default: all that are configured')
    .option('--job <type>', 'default: full_profile_scrape, or the first job type of a platform')
    .addOption(new Option('--json', 'print one JSON object for each platform'))
    .action(async (options: PlanArguments) => {
      const { plan } = await import('./plan.ts')
      const { creators, every, platform, job } = options
      exitCode = await plan(
        configOf(options),
        {
          creators,
          everyMs: every,
          json: options.json === true,
          ...(platform === undefined ? {} : { platforms: platform }),
          ...(job === undefined ? {} : { jobType: job }),
        },
        terminal,
      )
    })

  root
    .command('simulate')
    .description('play the three platforms, enforce their limits, and say at /oracle what was seen')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <n>', '0 takes any free one', whole(0, 65535), 8480)
    .option('--creators <n>', 'creators on each platform', whole(1, 1_000_000), 1000)
    .option('--seed <n>', 'the same seed plays the same creators', whole(0, 2 ** 31 - 1), 1)
    .option('--latency <duration>', 'of every reply', durationMs, 40)
    .option('--jitter <duration>', 'added to it at random, up to this', durationMs, 40)
    .option('--error-rate <share>', 'replies that are errors, 0 to 1', share, 0)
    .option('--throttle-rate <share>', 'replies that say slow down although the limits are kept', share, 0)
    .option('--missing <share>', 'creators that are not there', share, 0.01)
    .option('--private <share>', 'creators that are private', share, 0.01)
    .option('--broken <share>', 'replies that are not what was promised', share, 0)
    .option('--drops <share>', 'creators who lose most of their followers on the second day', share, 0.01)
    .option(
      '--time-scale <n>',
      'how much faster than life creators grow; 0: not at all',
      whole(0, 1_000_000),
      1,
    )
    .option('--accounts <n>', 'accounts that may call, each with a quota of its own', whole(1, 100), 1)
    .option('--limits <json>', 'what it enforces, or `open`; default: the published limits')
    .action(async (options) => {
      const { simulate } = await import('./simulate.ts')
      exitCode = await simulate(options, terminal)
    })

  if (args.length === 0) {
    terminal.stderr.write(root.helpInformation())
    return EXIT.usage
  }
  try {
    await root.parseAsync([...args], { from: 'user' })
  } catch (error) {
    // Commander has said it already, in one line; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
    throw error
  }
  return exitCode
}

function whole(min: number, max: number) {
  return (text: string): number => {
    const number = Number(text)
    if (text.trim() === '' || !Number.isInteger(number) || number < min || number > max) {
      throw new InvalidArgumentError(
        `found ${JSON.stringify(text)}, expected a whole number from ${min} to ${max}`,
      )
    }
    return number
  }
}

function share(text: string): number {
  const number = Number(text)
  if (text.trim() === '' || !(number >= 0 && number <= 1)) {
    throw new InvalidArgumentError(`found ${JSON.stringify(text)}, expected a share from 0 to 1`)
  }
  return number
}

function durationMs(text: string): number {
  const ms = text === '0' ? 0 : parseDuration(text)
  if (ms === undefined)
    throw new InvalidArgumentError(`found ${JSON.stringify(text)}, expected a duration such as 50ms or 2s`)
  return ms
}

function periodMs(text: string): number {
  const ms = parseDuration(text)
  if (ms === undefined || ms === 0)
    throw new InvalidArgumentError(`found ${JSON.stringify(text)}, expected a duration such as 12h or 7d`)
  return ms
}
