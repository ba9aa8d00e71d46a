import type { FollowUp, Harvest } from '../job/outcome.ts'
import type { PictureRequest } from '../job/picture.ts'
import type { AdapterRow, CreatorRow, PointRow } from '../job/row.ts'
import { emailIn } from './email.ts'
import { engagementRate, qualityFlags } from './quality.ts'
import { cleanLine, cleanText } from './text.ts'

/** The words for what is counted about a creator; the same thing has the same word on every platform. */
export interface CreatorNumbers {
  readonly followers?: number | undefined
  readonly following?: number | undefined
  readonly posts?: number | undefined
  /** Of all posts together. */
  readonly likes?: number | undefined
  /** Of all posts together. */
  readonly views?: number | undefined
}

/** What is counted about a post. */
export interface PostNumbers {
  readonly likes?: number | undefined
  readonly comments?: number | undefined
  readonly views?: number | undefined
  readonly shares?: number | undefined
}

/** A creator's profile, as every adapter reads it from its platform's words. */
export interface Profile {
  readonly name: string
  readonly handle: string
  readonly biography: string
  readonly verified: boolean
  readonly pictureUrl: string | undefined
  readonly numbers: CreatorNumbers
}

export interface Post {
  readonly id: string
  /** `image`, `video`, `album`. */
  readonly kind: string
  readonly title: string
  readonly url: string
  readonly publishedAtMs: number
  /** A still picture of it; undefined when the platform gives none. */
  readonly pictureUrl: string | undefined
  readonly numbers: PostNumbers
}

/** One point per number that is known. A number that the platform hides is no point. */
export function pointRows(numbers: Readonly<Record<string, number | undefined>>): PointRow[] {
  const rows: PointRow[] = []
  for (const [metric, value] of Object.entries(numbers)) {
    if (value !== undefined && Number.isFinite(value)) rows.push({ table: 'points', metric, value })
  }
  return rows
}

/** Points and facts of a creator. With `posts`, the engagement rate over them too. */
export function profileRows(profile: Profile, posts: readonly Post[] = []): AdapterRow[] {
  const rate = engagementRate(
    profile.numbers.followers,
    posts.map((post) => post.numbers),
  )
  const biography = cleanText(profile.biography)
  const creator: CreatorRow = {
    table: 'creators',
    name: cleanLine(profile.name),
    handle: profile.handle,
    biography,
    verified: profile.verified,
    gone: false,
    flags: qualityFlags({ followers: profile.numbers.followers, engagementRate: rate }),
    email: emailIn(biography),
    pictureUrl: profile.pictureUrl ?? '',
  }
  return [...pointRows({ ...profile.numbers, engagement_rate: rate }), creator]
}

/** Facts and points of posts, in the order given. */
export function postRows(posts: readonly Post[]): AdapterRow[] {
  return posts.flatMap((post): AdapterRow[] => [
    {
      table: 'media',
      mediaId: post.id,
      kind: post.kind,
      title: cleanLine(post.title),
      url: post.url,
      publishedAtMs: post.publishedAtMs,
    },
    ...pointRows({ ...post.numbers }).map(({ metric, value }): AdapterRow => {
      return { table: 'media_points', mediaId: post.id, metric, value }
    }),
  ])
}

/** The avatar, then pictures of the newest posts, at most `postsMax` of those. */
export function pictureRequests(
  avatarUrl: string | undefined,
  posts: readonly Post[] = [],
  postsMax = 0,
): PictureRequest[] {
  const avatar = avatarUrl === undefined ? [] : [{ url: avatarUrl, subject: 'avatar' }]
  const newest = posts
    .filter((post) => post.pictureUrl !== undefined)
    .sort((a, b) => b.publishedAtMs - a.publishedAtMs)
    .slice(0, postsMax)
    .map((post) => ({ url: post.pictureUrl!, subject: post.id }))
  return [...avatar, ...newest]
}

/** What a profile job returns; with `posts`, what a full scrape returns. */
export function profileHarvest(profile: Profile, posts: readonly Post[] = [], picturesMax = 0): Harvest {
  return {
    rows: [...profileRows(profile, posts), ...postRows(posts)],
    pictures: pictureRequests(profile.pictureUrl, posts, picturesMax),
    data: { ...profile.numbers, handle: profile.handle, posts_read: posts.length },
  }
}

/** What a media job returns. `rest` reads what is left: it is handed over as a follow-up job, or left out when not wanted. */
export function mediaHarvest(posts: readonly Post[], picturesMax: number, rest?: Rest): Harvest {
  return {
    rows: postRows(posts),
    pictures: pictureRequests(undefined, posts, picturesMax),
    followUps: rest?.wanted === true ? [rest.job] : [],
    data: { posts_read: posts.length, complete: rest === undefined },
  }
}

export interface Rest {
  readonly wanted: boolean
  readonly job: FollowUp
}
