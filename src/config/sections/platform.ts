import { z } from 'zod'
import { duration, text } from '../values.ts'

/** One of `platforms`. */
export const platform = z.strictObject({
  enabled: z.boolean().default(true),
  module: text
    .optional()
    .describe(
      'Path, from the folder of this file, of a module whose default export is a platform of your own.',
    ),
  origin: z.url().optional().describe('Overrides the origin of the adapter: a proxy, or a simulator.'),
  private_origin: z.boolean().default(false).describe('Allow the origin to be a private address.'),
  min_interval: z
    .record(text, duration())
    .default({})
    .describe('By job type: a creator that was scraped within this time is skipped.'),
  credentials: z
    .record(
      text,
      z.union([z.string(), z.record(text, z.string())], {
        error: 'expected a text, or the texts of a named credential',
      }),
    )
    .optional()
    .describe(
      'What the adapter asks for; secrets belong in the environment. Several: each under a name of its own, ' +
        '`first: { key: … }`. Each has its own quota, and the one with most room is used.',
    ),
})
