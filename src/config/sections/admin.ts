import { z } from 'zod'
import { port, text } from '../values.ts'

/** `admin`: the console, metrics and probes. */
export const admin = z.strictObject({
  enabled: z.boolean().default(true),
  host: text.default('127.0.0.1'),
  port: port.default(9464),
  token: z
    .string()
    .min(16)
    .max(200)
    .regex(/^[\x21-\x7e]+$/)
    .optional()
    .describe(
      'Who has it may pause platforms and replay dead letters in the console. Without it the console only shows.',
    ),
  advertise: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'Address of this console as people open it, for the list that consoles of other daemons show. Default: host and port.',
    ),
})
