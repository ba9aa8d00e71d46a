import { z } from 'zod'
import { tls } from '../tls.ts'
import { text } from '../values.ts'

/** `clickhouse`: the server of the time series. */
export const clickhouse = z
  .strictObject({
    url: text.default('http://127.0.0.1:8123'),
    username: text.default('default'),
    password: z.string().default(''),
    database: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/)
      .default('millrace'),
    cluster: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/)
      .optional()
      .describe(
        'Name of a cluster of `remote_servers`: tables are replicated and spread over its shards. Left out: one server.',
      ),
    tls: tls.default(false),
  })
  .describe('Where rows go. Left out: the embedded engine, in the folder `data`.')
