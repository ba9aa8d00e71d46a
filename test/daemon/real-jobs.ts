import { creatorIds, type Fate } from '../../src/simulator/creators.ts'
import { PLAYED, type Played } from '../../src/simulator/options.ts'

/** A record for the jobs topic, and how it has to end. */
export interface Sent {
  readonly key: string
  readonly value: string
  readonly expected: 'done' | 'malformed' | 'not_found'
  /** Null when the record is malformed: its id is then made of where it stands. */
  readonly id: string | null
  readonly platform: Played
  readonly creator: string
}

export interface RealJobsOptions {
  /** Ids begin with it. */
  readonly run: string
  readonly jobs: number
  /** The simulator's. */
  readonly seed: number
  readonly creators: number
  /** One record in so many is cut short, asks for a creator who is not there, wants pictures. */
  readonly malformedEvery: number
  readonly missingEvery: number
  readonly picturesEvery: number
  /** Of YouTube too, so that every job makes its own calls. Default false. */
  readonly handles?: boolean
}

/** Jobs on the three platforms in turn, each for a creator of its own, so that rows can be counted by jobs. */
export function realJobs(options: RealJobsOptions): Sent[] {
  const { run, jobs, seed, creators, handles = false, malformedEvery, missingEvery, picturesEvery } = options
  const of = (platform: Played, fate: Fate, count: number) =>
    creatorIds(platform, seed, count, { fate, handles, creators })
  const known = new Map(PLAYED.map((platform) => [platform, of(platform, 'public', jobs)]))
  const missing = new Map(
    PLAYED.map((platform) => [platform, of(platform, 'missing', Math.ceil(jobs / missingEvery))]),
  )
  return Array.from({ length: jobs }, (_, index) => {
    const platform = PLAYED[index % PLAYED.length]!
    const id = `${run}-${index}`
    const isMissing = index % missingEvery === 7
    const creator = isMissing
      ? missing.get(platform)![Math.floor(index / missingEvery)]!
      : known.get(platform)![index]!
    const withPictures = index % picturesEvery === 3
    const value = JSON.stringify({
      platform,
      creator_id: creator,
      job_type: withPictures ? 'full_profile_scrape' : 'profile',
      priority: 1 + (index % 10),
      job_id: id,
      params: withPictures ? { pictures_max: 1 } : {},
    })
    const key = `${platform}:${creator}`
    if (index % malformedEvery === 1) {
      return { key, value: value.slice(0, -2), expected: 'malformed', id: null, platform, creator }
    }
    return { key, value, expected: isMissing ? 'not_found' : 'done', id, platform, creator }
  })
}
