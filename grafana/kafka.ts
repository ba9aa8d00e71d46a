import { type Dashboard, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { page } from './page.ts'
import { lines, stat, table } from './panels.ts'
import { I, NONE, P, rate } from './queries.ts'

/** In a rebalance two daemons may tell of one partition for a moment. */
const lag = (by: string) => `sum by (${by}) (max by (topic, partition) (millrace_kafka_lag_records))`
const oldest = (by: string) => `max by (${by}) (millrace_kafka_oldest_seconds)`

/** *Kafka*: lag, how old the oldest is, and whether the group is at rest. */
export function kafka(): Dashboard {
  return page({
    title: 'Kafka',
    uid: 'millrace-kafka',
    description: 'How much waits, how old it is, and whether the consumer group is at rest.',
  })
    .withRow(new RowBuilder('How much waits?'))
    .withPanel(
      stat({
        title: 'Lag',
        queries: [[lag(''), 'records']],
        unit: 'short',
        span: 6,
        alert: 'MillraceStalled',
      }),
    )
    .withPanel(
      stat({
        title: 'Age of the oldest',
        queries: [['max(millrace_kafka_oldest_seconds)', 'oldest']],
        unit: 's',
        span: 6,
        amber: 7_200,
        red: 14_400,
        alert: 'MillraceStaleness',
      }),
    )
    .withPanel(
      stat({
        title: 'Time to work it off',
        // At the rate of the last quarter of an hour; nothing committed means never.
        queries: [
          [
            `sum(max by (topic, partition) (millrace_kafka_lag_records)) / sum(rate(millrace_kafka_committed_total[15m]))`,
            'at this rate',
          ],
        ],
        unit: 's',
        span: 6,
      }),
    )
    .withPanel(
      stat({
        title: 'Rebalances in an hour',
        queries: [['max(increase(millrace_kafka_rebalances_total[1h]))', 'of one daemon']],
        unit: 'short',
        span: 6,
        amber: 5,
        red: 20,
      }),
    )
    .withPanel(
      lines({
        title: 'Lag by topic',
        queries: [[lag('topic'), '{{topic}}']],
        unit: 'short',
        span: 12,
        stacked: true,
        alert: 'MillraceOutOfCapacity',
      }),
    )
    .withPanel(
      lines({
        title: 'Age of the oldest, by topic',
        queries: [[oldest('topic'), '{{topic}}']],
        unit: 's',
        span: 12,
        alert: 'MillraceStaleness',
      }),
    )
    .withPanel(
      table({
        title: 'Partitions that lag most',
        by: 'partition',
        columns: [
          ['lag', `topk(20, ${lag('topic, partition')})`, 'short'],
          ['oldest', `topk(20, ${oldest('topic, partition')})`, 's'],
        ].map(([title = '', expr = '', unit = '']) => [
          title,
          `label_join(${expr}, "partition", "/", "topic", "partition")`,
          unit,
        ]),
        span: 12,
      }),
    )
    .withPanel(
      lines({
        title: 'Put aside and sent again',
        queries: [
          [`sum by (platform) (${rate(`millrace_jobs_parked_total{${P}}`)}) ${NONE}`, '{{platform}} parked'],
          [
            `sum by (platform, reason) (${rate(`millrace_retries_total{${P}}`)}) ${NONE}`,
            '{{platform}} again: {{reason}}',
          ],
          [
            `sum by (platform) (${rate(`millrace_jobs_replayed_total{${P}}`)}) ${NONE}`,
            '{{platform}} repeated',
          ],
        ],
        unit: 'ops',
        span: 12,
      }),
    )
    .withRow(new RowBuilder('Does it move?'))
    .withPanel(
      lines({
        title: 'Taken in, and committed',
        queries: [
          [`sum(${rate(`millrace_jobs_consumed_total{${P}}`)})`, 'taken in'],
          [`sum(${rate(`millrace_kafka_committed_total{${I}}`)})`, 'committed'],
        ],
        unit: 'ops',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Taken in by daemon',
        queries: [[`sum by (instance) (${rate(`millrace_jobs_consumed_total{${P}}`)})`, '{{instance}}']],
        unit: 'ops',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Dead letters by reason',
        queries: [
          [
            `sum by (platform, reason) (${rate(`millrace_dead_letters_total{${P}}`)}) > 0 ${NONE}`,
            '{{platform}} {{reason}}',
          ],
        ],
        unit: 'ops',
        span: 8,
        alert: 'MillraceDeadLetters',
      }),
    )
    .withRow(new RowBuilder('Is the group at rest?'))
    .withPanel(
      lines({
        title: 'Partitions by daemon',
        queries: [[`count by (instance) (millrace_kafka_oldest_seconds{${I}})`, '{{instance}}']],
        unit: 'short',
        span: 8,
        stacked: true,
      }),
    )
    .withPanel(
      lines({
        title: 'Rebalances',
        queries: [[`increase(millrace_kafka_rebalances_total{${I}}[5m])`, '{{instance}}']],
        unit: 'short',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Paused partitions, and Kafka takes our records',
        queries: [
          [`millrace_kafka_paused_partitions{${I}}`, '{{instance}} paused'],
          [`min by (instance) (millrace_sink_healthy{${I},service="kafka"})`, '{{instance}} healthy'],
        ],
        unit: 'short',
        span: 8,
        alert: 'MillraceSinkAway',
      }),
    )
    .build()
}
