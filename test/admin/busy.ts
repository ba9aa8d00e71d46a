import type { Status } from '../../src/admin/status.ts'
import type { Member } from '../../src/fleet/member.ts'
import type { LevelState } from '../../src/job/permit.ts'
import { STATUS } from './source.ts'

/** What a producer, a platform or somebody at another console may write: markup, in each way in which it could run. */
export const HOSTILE = `<img src=x onerror="window.pwned=1"><script>window.pwned=2</script>"'><svg onload=alert(3)>\${alert(4)}{{5}}\u202e`
/** Nothing in it where a line could break. */
export const LONG = 'x'.repeat(200)

export function level(name: string, fields: Partial<LevelState> = {}): LevelState {
  return {
    ...{ level: name, kind: 'window', remaining: 10, capacity: 40, rate: 2, factor: 1, blockedUntilMs: 0 },
    ...{ resetsAtMs: 0, grantedLastMinute: 30, waiting: 0 },
    ...fields,
  }
}

const MEMBER: Member = {
  ...{ id: 'a', name: 'host-a', url: 'http://127.0.0.1:9464', version: '0.1.0', isSelf: true, silentMs: 0 },
  ...{ startedAt: '2026-01-01T00:00:00.000Z', ready: true, inFlight: 3, ended: 100, perSecond: 4.2 },
}

/** Ten daemons; this one is the first. */
export const TEN: readonly Member[] = Array.from({ length: 10 }, (_, index) => ({
  ...MEMBER,
  ...{ id: `m${index}`, name: `host-${index}`, url: `http://10.0.0.${index}:9464`, isSelf: index === 0 },
  ...{ silentMs: index === 4 ? 30_000 : 0, ready: index !== 6 },
}))

/** A daemon in the middle of its work, with something of everything. `seconds`: how long it has been counting. */
export function busy(seconds: number): Status {
  const inMs = Date.now()
  return {
    ...STATUS,
    jobs: {
      ...{ consumed: 25 * seconds, inFlight: 320, retried: 2 * seconds },
      finished: { done: 20 * seconds, skipped: seconds, dead: seconds },
      recentFailures: [
        {
          ...{
            at: new Date(inMs - 3_000).toISOString(),
            reason: 'not_found',
            platform: 'tiktok',
            outcome: 'dead',
          },
          ...{ jobId: 'job-1', creatorId: 'somebody', message: 'TikTok knows no somebody' },
        },
        {
          ...{
            at: new Date(inMs - 5_000).toISOString(),
            reason: 'timeout',
            platform: 'youtube',
            outcome: 'retry',
          },
          ...{ jobId: 'job-2', creatorId: '@nasa', message: 'no reply within 10 s' },
        },
      ],
      reasons: [
        { reason: 'not_found', kind: 'content', dead: seconds, retried: 0 },
        { reason: 'timeout', kind: 'transient', dead: 0, retried: 2 * seconds },
      ],
    },
    platforms: ['instagram', 'tiktok', 'youtube'].map((platform) => ({
      ...{
        platform,
        pausedBecause: null,
        hasCredentials: true,
        fetching: 12,
        breakerOpen: false,
        rejections: 0,
      },
      credentials: [{ name: 'main', refused: false, aside: false, againInS: 0, heldBackForS: 0 }],
    })),
    services: ['clickhouse', 'store', 'kafka', 'redis'].map((service) => ({ service, away: null })),
    parking: [{ platform: 'tiktok', waiting: 0, parking: true, parked: 1_200 }],
    permits: {
      instagram: { user_profile: { queued: 240, granted: 8 * seconds } },
      tiktok: { user_info: { queued: 30, granted: 6 * seconds } },
      youtube: { channel: { queued: 0, granted: 11 * seconds } },
    },
    levels: [
      level('global', { kind: 'bucket', remaining: 12, capacity: 60 }),
      level('platform:instagram', { kind: 'bucket', remaining: 0, capacity: 20, waiting: 240 }),
      level('endpoint:instagram/user_profile', { remaining: 0, waiting: 240 }),
      level('platform:tiktok', { kind: 'bucket', blockedUntilMs: inMs + 600_000 }),
      level('quota:tiktok/main', {
        kind: 'quota',
        remaining: 1_000,
        capacity: 10_000,
        resetsAtMs: inMs + 3_600_000,
      }),
      level('endpoint:tiktok/user_info', { factor: 0.75, remaining: 3 }),
      level('platform:youtube', { kind: 'bucket' }),
      level('endpoint:youtube/channel'),
    ],
    pictures: { stored: 6 * seconds, known: 3, rejected: 1, newest: [] },
    pool: { queued: 4, utilisation: 0.7 },
    rows: { written: { points: 300 * seconds }, buffered: 2_100 },
    partitions: Array.from({ length: 8 }, (_, partition) => ({
      ...{ topic: 'millrace.jobs', partition, lag: partition * 40, paused: partition === 7 },
    })),
    committed: 20 * seconds,
    loop: { p50Ms: 0.4, p99Ms: 6 },
    memory: { rssBytes: 4e8, heapUsedBytes: 9e7 },
  }
}
