import { z } from 'zod'
import { tls } from '../tls.ts'
import { duration, listed, text } from '../values.ts'

/** `kafka`: brokers, group and topics. */
export const kafka = z
  .strictObject({
    brokers: z.preprocess(listed, z.array(text).min(1)).describe('host:port of at least one broker.'),
    client_id: text.default('millrace'),
    group: text.default('millrace').describe('Daemons of one group share the work.'),
    topics: z
      .preprocess(
        listed,
        z
          .array(
            z.union([
              text,
              z.strictObject({
                name: text,
                weight: z.int().min(1).max(100).default(1),
                platform: text
                  .optional()
                  .describe('All its jobs are of this platform: then they wait here, and are never parked.'),
              }),
            ]),
          )
          .min(1),
      )
      .prefault(['millrace.jobs'])
      .transform((topics) =>
        topics.map((topic) => (typeof topic === 'string' ? { name: topic, weight: 1 } : topic)),
      )
      .describe(
        'Topics to take jobs from. One per platform is a good habit. Weights share the intake among them.',
      ),
    results_topic: text.default('millrace.results'),
    dead_topic: text.default('millrace.dead'),
    replayed_topic: text
      .default('millrace.replayed')
      .describe('Which dead letters `millrace dlq replay` has sent back.'),
    retry_topic_prefix: text.default('millrace.retry.'),
    parked_topic_prefix: text
      .default('millrace.parked.')
      .describe('With the platform’s name: where its jobs wait that would be in the way of others.'),
    create_topics: z
      .boolean()
      .default(false)
      .describe('Create missing topics at start, with `partitions` partitions and the broker’s replication.'),
    partitions: z.int().min(1).max(1000).default(12),
    tls: tls.default(false),
    sasl: z
      .strictObject({
        mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']),
        username: text,
        password: text,
      })
      .optional(),
    session_timeout: duration({ min: '500ms', max: '10m' }).prefault('30s'),
    heartbeat_interval: duration({ min: '100ms', max: '1m' }).prefault('3s'),
    rebalance_timeout: duration({ min: '1s', max: '10m' }).prefault('60s'),
  })
  .describe('Where jobs come from and results go. Left out: NDJSON from a file or standard input.')
