import { z } from 'zod'

/** `log`: what is written, and how. */
export const log = z.strictObject({
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  jobs: z.enum(['failures', 'all', 'none']).default('failures').describe('Which finished jobs get a line.'),
  pretty: z.boolean().optional().describe('Readable lines instead of JSON. Default: in a terminal.'),
})
