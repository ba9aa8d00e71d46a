import type { TestContext } from 'node:test'
import type { Credential } from '../../src/job/credential.ts'
import type { Platform } from '../../src/job/platform.ts'
import type { WindowLimit } from '../../src/limiter/plan.ts'
import { runJob } from '../../src/pipeline/job-run.ts'
import { youtube } from '../../src/platforms/youtube.ts'
import { DEFAULT_CREDENTIALS } from '../../src/simulator/options.ts'
import { createLog } from '../../src/telemetry/log.ts'
import { Secrets } from '../../src/telemetry/secrets.ts'
import { jobOf } from '../platforms/recorded-context.ts'
import { errandOf, RETRY, upstreamOf } from './upstream-bench.ts'

const NO_MARKS = {
  ended: async () => null,
  end: async (_name: string, result: Buffer) => result,
  scrapedBy: async () => null,
  scraped: async () => {},
  start: async () => {},
  stop: async () => {},
}
const MAIN: Credential = { name: 'main', value: DEFAULT_CREDENTIALS.youtube }

export interface YoutubeOptions {
  /** Default: wide open. */
  readonly channel?: WindowLimit
  readonly platform?: Platform
  readonly credentials?: readonly Credential[]
}

/** YouTube's `profile` jobs on real parts, from the adapter down to the socket, with limits in memory. */
export async function youtubeAt(t: TestContext, origin: string, options: YoutubeOptions = {}) {
  const { channel, platform = youtube, credentials = [MAIN] } = options
  const plan = {
    credentials: { youtube: { rate: 1_000, burst: 1_000 } },
    ...(channel === undefined ? {} : { endpoints: { youtube: { channel } } }),
  }
  const { upstream, desk } = await upstreamOf(t, platform, { origin, credentials, plan })
  const log = createLog({ level: 'silent', pretty: false, secrets: [] })

  /** Runs a job; says how it ended, with what it had behind it. */
  async function run(
    creatorId: string,
    { attempts = 0, expiresAtMs = Date.now() + 60_000, signal = new AbortController().signal } = {},
  ) {
    const type = { ...jobOf(youtube.jobs.profile, creatorId, {}), platform: 'youtube', type: 'profile' }
    const errand = errandOf({
      ...{ expiresAtMs, signal, creatorId },
      tally: { attempts, throttled: 0, badResponses: 0 },
    })
    const outcome = await runJob({ ...type, expiresAtMs }, upstream, errand, {
      ...{ retry: RETRY, marks: NO_MARKS, log, secrets: new Secrets() },
    })
    return { outcome, errand }
  }
  return { run, desk }
}

export type YoutubeBench = Awaited<ReturnType<typeof youtubeAt>>
