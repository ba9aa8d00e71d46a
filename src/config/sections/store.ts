import { z } from 'zod'
import { text } from '../values.ts'

/** `store`: where pictures go. */
export const store = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('folder'), path: text.optional().describe('Default: `<data>/store`.') }),
    z.strictObject({
      kind: z.literal('s3'),
      bucket: text,
      endpoint: text.optional().describe('For stores other than AWS.'),
      region: text.default('us-east-1'),
      access_key_id: text.optional(),
      secret_access_key: text.optional(),
      path_style: z.boolean().default(true),
    }),
  ])
  .describe('Where pictures go. Left out: a folder in `data`.')
