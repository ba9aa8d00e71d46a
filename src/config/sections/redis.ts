import { z } from 'zod'
import { tls } from '../tls.ts'
import { duration, listed, text } from '../values.ts'

/** `redis`: what all daemons share. */
export const redis = z
  .strictObject({
    url: text
      .default('redis://127.0.0.1:6379')
      .describe('redis:// or rediss:// address; of a cluster, that of any node.'),
    cluster: z
      .preprocess(listed, z.array(text))
      .optional()
      .describe(
        'For a Redis Cluster: addresses of its other nodes, as many as are worth asking. `[]` will do.',
      ),
    username: text.optional().describe('ACL user.'),
    password: text.optional(),
    tls: tls.default(false),
    key_prefix: text.default('millrace').describe('Daemons that share limits share the prefix.'),
    command_timeout: duration({ min: '10ms', max: '30s' }).prefault('500ms'),
  })
  .describe('Where daemons share their limits. Left out: limits in memory, for one daemon alone.')
