import type { JobMessage } from '../../job/job.ts'

export interface DemoCreators {
  readonly platform: string
  readonly ids: readonly string[]
}

/** Some of what producers get wrong in real life; each becomes a dead letter that says why. */
const MISTAKES: readonly string[] = [
  'instagram,creator_1,profile',
  '{"platform":"youtube","creator_id":"UC',
  '{"platform":"tiktok","job_type":"profile"}',
  '{"platform":"instagram","creator_id":"someone","job_type":"profile","priority":99}',
  '{"platform":"myspace","creator_id":"tom","job_type":"profile"}',
  '{"platform":"youtube","creator_id":"@somebody","job_type":"horoscope"}',
]

/** The first round: everything about every creator, and the mistakes among them. One line of NDJSON each. */
export function firstRound(creators: readonly DemoCreators[], requested_at: string): string[] {
  const lines = interleaved(creators, (platform, creator_id, index) => ({
    platform,
    creator_id,
    job_type: 'full_profile_scrape',
    requested_at,
    priority: index % 10 === 0 ? 9 : 5,
    params: { pictures_max: 1 },
  }))
  const step = Math.floor(lines.length / (MISTAKES.length + 1)) + 1
  MISTAKES.forEach((mistake, i) => {
    lines.splice((i + 1) * step, 0, mistake)
  })
  return lines
}

/** The second round: the numbers once more, so that growth can be seen. */
export function secondRound(creators: readonly DemoCreators[], requested_at: string): string[] {
  return interleaved(creators, (platform, creator_id) => ({
    platform,
    creator_id,
    job_type: 'profile',
    requested_at,
  }))
}

/** One creator of each platform in turn, as they would arrive from several producers. */
function interleaved(
  creators: readonly DemoCreators[],
  jobOf: (platform: string, id: string, index: number) => JobMessage,
): string[] {
  const lines: string[] = []
  const longest = Math.max(...creators.map(({ ids }) => ids.length))
  for (let index = 0; index < longest; index++) {
    for (const { platform, ids } of creators) {
      const id = ids[index]
      if (id !== undefined) lines.push(JSON.stringify(jobOf(platform, id, index)))
    }
  }
  return lines
}
