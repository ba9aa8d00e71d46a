import { configSchema } from '../src/config/schema.ts'
import { capacityOf, type PlannedCall } from '../src/limiter/capacity.ts'
import { planOf } from '../src/parts/limits.ts'
import { BUILT_IN } from '../src/platforms/registry.ts'

/** What was measured, and where: change a figure here when it is measured anew. */
const MEASURED = {
  jobUs: [
    241,
    'µs of CPU: a job with one call, jobs from Kafka, permits from Redis, the result to Kafka',
    'decisions/throughput.md, the slowest of four runs',
  ],
  callUs: [
    100,
    'µs of CPU: every further call of a job',
    'decisions/throughput.md: `undici.request` alone 69–102',
  ],
  rowUs: [1.2, 'µs of CPU: a row encoded and sent', 'native-bench/rows.ts: 12 ms for 10,000'],
  pictureMs: [
    36,
    'ms of CPU: a picture of 319 KB downloaded, resized to 800² and 150², stored',
    'decisions/pictures.md: 27.8 a core-second',
  ],
  knownMs: [
    6,
    'ms of CPU: a picture downloaded and found in the store by its bytes',
    'decisions/pictures.md: a picture through the stage less one in the pool alone',
  ],
  pictureKb: [
    319,
    'KB: a picture as platforms send it',
    'decisions/pictures.md: the sources of the benchmark',
  ],
  uploadMs: [1.65, 'ms of CPU: more for each upload to S3', 'decisions/pictures.md'],
  daemonMb: [
    540,
    'MB resident: a daemon with pictures, all its services outside',
    'measured in the image’s root file system, 298 pictures',
  ],
  waitingKb: [8, 'KB: a job in memory', 'decisions/throughput.md'],
  markBytes: [
    1_900,
    'bytes in Redis: what is remembered of a job with 50 posts, for `intake.ended_kept` (2 h); 280 of a profile',
    'decisions/delivery.md',
  ],
  callsAPermit: [
    0.7,
    'calls to Redis a permit with ten daemons; 0.2 with one, 1.6 with fifty that get one permit in ten seconds each',
    'decisions/limiter.md',
  ],
  limiterCallMs: [
    0.4,
    'ms in Redis: a call for one endpoint with few grants to remember; 0.7 to 1.9 with a full window of a thousand',
    'native-bench/limiter.ts on a machine with a load of 24 to 34: an upper bound',
  ],
  jobBytes: [250, 'bytes: a job in Kafka', 'producers in examples/'],
  resultBytes: [
    1_050,
    'bytes: the result of a full profile, 620 of a profile',
    'measured, 40 simulated creators a platform',
  ],
  points: [4.5, 'rows of `points` a full profile', 'the same'],
  mediaPoints: [97, 'rows of `media_points`', 'the same: 33 posts'],
  facts: [39, 'rows of `creators`, `media`, `pictures`: replaced, not added', 'the same'],
  pointBytes: [
    18,
    'bytes on disk: a row of `points` with ids of jobs that are random (7 with Kafka’s own)',
    'measured, 1.9 M rows, merged',
  ],
  mediaPointBytes: [2.9, 'bytes on disk: a row of `media_points`', 'measured, 1.4 M rows, merged'],
  mediaBytes: [33, 'bytes on disk: a row of `media`', 'measured, 0.4 M rows'],
  jobRowBytes: [23, 'bytes on disk: a row of `jobs`, kept for 30 days', 'measured, 0.24 M rows'],
  pictureBytes: [
    190_000,
    'bytes in the store: a picture in both default sizes',
    'decisions/pictures.md: 180 KB at 800²',
  ],
} as const satisfies Record<string, readonly [number, string, string]>

/** What is chosen rather than measured. */
const ASSUMED = {
  newPictures: [0.05, 'share of the pictures of a creator that are new each day'],
  pictures: [
    2.4,
    'pictures of a creator: the avatar, and covers of the newest posts where the platform gives them',
  ],
  loopShare: [
    0.6,
    'how much of its one main thread a daemon should use, so that heart-beats and drains are in time',
  ],
  cpuShare: [0.7, 'how much of its CPUs a daemon should use'],
  cpus: [2, 'CPUs of a daemon'],
  perPartition: [3, 'partitions for each daemon, so that they can be shared evenly when one is gone'],
  replication: [3, 'copies of what stands in Kafka'],
  keptDays: [7, 'days that Kafka keeps it'],
} as const satisfies Record<string, readonly [number, string]>

type Values<T extends Record<string, readonly [number, ...string[]]>> = { readonly [K in keyof T]: number }
const numbers = <T extends Record<string, readonly [number, ...string[]]>>(table: T) =>
  Object.fromEntries(Object.entries(table).map(([name, [value]]) => [name, value])) as Values<T>
const m = numbers(MEASURED)
const a = numbers(ASSUMED)

const DAY_S = 86_400
const JOB = 'full_profile_scrape'

const calls = [...BUILT_IN.values()].flatMap(({ name, endpoints, jobs }): PlannedCall[] =>
  Object.entries(jobs[JOB]?.calls ?? {}).map(([endpoint, count]) => ({
    platform: name,
    endpoint,
    cost: endpoints[endpoint]?.cost ?? 1,
    // Calls that jobs share are full when the quota decides: the platform's own batch size.
    calls: count / (endpoints[endpoint]?.batch?.max ?? 1),
  })),
)

/** Every creator once a day, a third on each platform. */
function sizesOf(creators: number) {
  const jobsS = creators / DAY_S
  const callsAJob = calls.reduce((sum, call) => sum + call.calls, 0) / BUILT_IN.size
  const rows = m.points + m.mediaPoints + m.facts + 1
  const jobUs = m.jobUs + Math.max(0, callsAJob - 1) * m.callUs + rows * m.rowUs
  const lookedAtS = jobsS * a.pictures
  const picturesS = lookedAtS * a.newPictures
  const loopCores = (jobsS * jobUs) / 1e6
  const pictureCores =
    (picturesS * (m.pictureMs + 2 * m.uploadMs) + (lookedAtS - picturesS) * m.knownMs) / 1e3
  const daemons = Math.max(
    2,
    Math.ceil(loopCores / a.loopShare),
    Math.ceil((loopCores + pictureCores) / (a.cpus * a.cpuShare)),
  )
  const addedBytes = m.points * m.pointBytes + m.mediaPoints * m.mediaPointBytes
  return {
    'jobs a second': jobsS,
    'calls a second': jobsS * callsAJob,
    'calls in flight, at half a second each': (jobsS * callsAJob) / 2,
    'pictures downloaded a second': lookedAtS,
    'pictures resized a second': picturesS,
    'download, Mbit/s': (lookedAtS * m.pictureKb * 8) / 1e3,
    'cores: event loops': loopCores,
    'cores: pictures': pictureCores,
    daemons: daemons,
    'partitions of the jobs topics': Math.max(12, Math.ceil((daemons * a.perPartition) / 12) * 12),
    'calls to the limiter a second': jobsS * callsAJob * m.callsAPermit,
    'cores: Redis, for limits': (jobsS * callsAJob * m.callsAPermit * m.limiterCallMs) / 1e3,
    'Redis, GB: marks of two hours': (jobsS * 7_200 * m.markBytes) / 1e9,
    'Kafka, MB a second written': (jobsS * (m.jobBytes + m.resultBytes)) / 1e6,
    'Kafka, GB kept, all copies':
      (creators * (m.jobBytes + m.resultBytes) * a.keptDays * a.replication) / 1e9,
    'rows a second': jobsS * rows,
    'ClickHouse, GB: numbers of 400 days': (creators * addedBytes * 400) / 1e9,
    'ClickHouse, GB: facts, and jobs of 30 days':
      (creators * (m.facts * m.mediaBytes + 30 * m.jobRowBytes)) / 1e9,
    'store, TB: all pictures once': (creators * a.pictures * m.pictureBytes) / 1e12,
    'store, TB more a year': (creators * a.pictures * a.newPictures * 365 * m.pictureBytes) / 1e12,
  }
}

/** What the limits of the default configuration allow on each platform, and how many times as much a number of creators needs. */
function quotaRows(examples: readonly number[]): string[] {
  const config = configSchema.parse({})
  return [...BUILT_IN.keys()].map((platform) => {
    const workload = {
      creators: 1,
      periodMs: DAY_S * 1000,
      calls: calls.filter((call) => call.platform === platform),
    }
    const [capacity] = capacityOf(planOf(config), config.limits.latency, workload)
    const { creatorsMax, decisive } = capacity!
    const times = examples.map((creators) => shown(creators / BUILT_IN.size / creatorsMax))
    const perCreator = workload.calls.reduce((sum, call) => sum + call.calls, 0)
    return `| ${platform} | ${shown(perCreator)} | ${shown(creatorsMax)} | \`${decisive.level.name}\` | ${times.join(' | ')} |`
  })
}

/** Two digits that count, with separators. */
function shown(value: number): string {
  if (value >= 100) return Math.round(Number(value.toPrecision(3))).toLocaleString('en')
  return String(Number(value.toPrecision(2)))
}

const EXAMPLES = [10_000, 1_000_000, 100_000_000]

/** docs/capacity.md. */
export function capacityPage(generated: string): string {
  const sizes = EXAMPLES.map(sizesOf)
  const lines = Object.keys(sizes[0]!) as (keyof ReturnType<typeof sizesOf>)[]
  const titles = EXAMPLES.map((creators) => `${creators.toLocaleString('en')} creators`)
  const largest = sizes.at(-1)!
  const firstDay = (1_000_000 * a.pictures) / DAY_S
  return `# Capacity

${generated}

Source: \`scripts/capacity.ts\`. How many daemons, partitions and gigabytes a number of creators needs, by arithmetic on figures that were
measured on 2 virtual cores with neighbours: a quiet machine does more. Every creator is scraped once a day (\`${JOB}\`), a third of
them on each platform; half as often halves every rate.

## Quotas come first

They decide long before machines do. \`millrace plan --creators N --every 24h\` reckons with your own limits and says which level decides;
here are the defaults, with calls that jobs share (YouTube: 50 ids a call) taken as full.

| platform | calls a creator | creators a day | what decides | ${titles.map((title) => `× for ${title}`).join(' | ')} |
|---|---|---|---|${EXAMPLES.map(() => '---|').join('')}
${quotaRows(EXAMPLES).join('\n')}

A factor above 1 is bought, asked for, or made of more credentials that are yours to use (each has a quota of its own); no daemon makes
up for it. More daemons only help when jobs wait although \`millrace_limit_utilisation_ratio\` is below 0.9.

## Three sizes

| | ${titles.join(' | ')} |
|---|${EXAMPLES.map(() => '---|').join('')}
${lines.map((line) => `| ${line} | ${sizes.map((size) => shown(size[line])).join(' | ')} |`).join('\n')}

**How it is reckoned.** Jobs a second = creators ÷ 86,400. Event loops: jobs × (${m.jobUs} µs + ${m.callUs} µs for each further call + ${m.rowUs} µs a row).
Pictures: new ones × (${m.pictureMs} ms + 2 × ${m.uploadMs} ms), all others × ${m.knownMs} ms, since a daemon remembers 50,000 addresses, and beyond that only the
bytes say that a picture is known. Daemons: the event loops' cores ÷ ${a.loopShare}, or all cores ÷ (${a.cpus} × ${a.cpuShare}), whichever is
more; never fewer than two, so that one can go. Partitions: ${a.perPartition} for each daemon, in dozens, since a daemon without one is idle. Redis holds marks:
jobs a second × 7,200 s × ${shown(m.markBytes)} bytes; the limits themselves take kilobytes. ClickHouse: ${m.points} × ${m.pointBytes} + ${m.mediaPoints} × ${m.mediaPointBytes} bytes a creator and
day. Sizes are of one copy; a replica doubles them, and merges want as much room again.

**Memory of a daemon**: ${m.daemonMb} MB, and ${m.waitingKb} KB for each job in memory (\`intake.jobs_max\`, 10,000: 80 MB), bounded by \`intake.bytes_max\`,
\`images.queued_bytes_max\` and \`rows.buffered_rows_max\`. The manifests allow 1.5 GB.

**The first day** is another one: every picture is new. 1 million creators are ${shown(firstDay)} pictures a second for a day, ${shown((firstDay * (m.pictureMs + 2 * m.uploadMs)) / 1e3)} cores; and what
a limit has left unused does not come back, so begin with fewer creators, or over several days.

## Where it ends

- *10,000 creators*: two daemons, for the sake of one that dies; everything else fits on one small machine. One
  daemon on embedded parts does it too.
- *1 million*: two daemons still. Redis with one replica, ClickHouse with one node, three brokers. The platforms' agreement is the work.
- *100 million*: ${shown(largest.daemons)} daemons. What the design meets then, in the order in which it hurts:
  - *Marks in Redis*: ${shown(largest['Redis, GB: marks of two hours'])} GB. Lower \`intake.ended_kept\` to the longest restart (10 minutes: ${shown(largest['Redis, GB: marks of two hours'] / 12)} GB), or use a Redis Cluster: marks
    spread over it.
  - *The limiter is one hash in one Redis*, so that one script sees all levels: ${shown(largest['calls to the limiter a second'])} calls a second are ${shown(largest['cores: Redis, for limits'])} of the one core
    that Redis uses, or all of it and more with long windows (\`native-bench/limiter.ts\` measures it on yours). Before that, give each
    platform daemons and a \`redis.key_prefix\` of its own: limits are by platform, and only the global bucket has to be divided.
  - *Downloads*: ${shown(largest['download, Mbit/s'] / 1000)} Gbit/s, most of it for pictures that are known already. \`params.pictures_max: 0\` on all jobs but one a
    week is the remedy; \`fetch.sockets_per_host\` (30) is the other bound, for each host of pictures and daemon.
  - *ClickHouse*: ${shown(largest['rows a second'])} rows a second and ${shown(largest['ClickHouse, GB: numbers of 400 days'] / 1000)} TB. One node takes some 200,000 rows a second of this kind on two cores
    (\`native-bench/rows.ts\`), so the rate is a matter of cores, the size one of shards: by \`cityHash64(creator_id)\`, with a copy each.
  - *Rebalances*: kafkajs stops the whole group whenever a daemon comes or goes. The more there are, the longer a roll-out
    stands still. A group for each platform (topics of its own, \`kafka.group\`) keeps them apart.
  - *Fairness of the limiter* was measured with up to fifty daemons, not with more.
  - Nothing of this size has been run. The arithmetic is what is promised, not the behaviour.
- *Beyond that* the quota of one agreement, not of one design, is in the way: shard by agreement, each with its own Redis and group.

## Measured

| | what | where |
|---|---|---|
${Object.values(MEASURED)
  .map(([value, what, where]) => `| ${value.toLocaleString('en')} | ${what} | ${where} |`)
  .join('\n')}

## Assumed

| | what |
|---|---|
${Object.values(ASSUMED)
  .map(([value, what]) => `| ${value.toLocaleString('en')} | ${what} |`)
  .join('\n')}
`
}
