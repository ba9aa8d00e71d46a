import { z } from 'zod'

/** `params` that several job types share, so that they look alike on every platform. */

/** Pictures of posts, newest first; the avatar is not counted. */
export const picturesMax = z.int().min(0).max(50).describe('Pictures of posts, newest first, to store.')

/** `pages_max` of a job that does not say it. */
export const PAGES_DEFAULT = 3

/** Fields of a job that reads pages of `items` posts each. */
export function pageParams(items: number) {
  return {
    pages_max: z
      .int()
      .min(1)
      .max(200)
      .default(PAGES_DEFAULT)
      .describe(`Pages of ${items} posts that this job reads.`),
    rest: z.boolean().default(false).describe('Read what is left with a follow-up job.'),
  }
}
