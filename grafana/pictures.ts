import { type Dashboard, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { page } from './page.ts'
import { lines, stat } from './panels.ts'
import { I, NONE, P, quantile, rate } from './queries.ts'

const ALL = `sum(${rate(`millrace_pictures_total{${P}}`)})`

/** *Pictures*: how many, how long each stage takes, and whether the threads or the store are the bound. */
export function pictures(): Dashboard {
  return page({
    title: 'pictures',
    uid: 'millrace-pictures',
    description:
      'How many pictures, how long each stage takes, and what bounds it: download, threads, or store.',
  })
    .withRow(new RowBuilder('How many?'))
    .withPanel(stat({ title: 'Pictures a second', queries: [[ALL, 'all']], unit: 'ops', span: 6 }))
    .withPanel(
      stat({
        title: 'Rejected, share',
        queries: [
          [
            `sum(${rate(`millrace_pictures_total{${P},outcome="rejected"}`)}) / clamp_min(${ALL}, 0.001) ${NONE}`,
            'share',
          ],
        ],
        unit: 'percentunit',
        span: 6,
        amber: 0.05,
        red: 0.2,
      }),
    )
    .withPanel(
      stat({
        title: 'Known already, share',
        queries: [
          [
            `sum(${rate(`millrace_pictures_total{${P},outcome="known"}`)}) / clamp_min(${ALL}, 0.001) ${NONE}`,
            'share',
          ],
        ],
        unit: 'percentunit',
        span: 6,
      }),
    )
    .withPanel(
      stat({
        title: 'The store takes them',
        queries: [[`min(millrace_sink_healthy{${I},service="store"})`, 'store']],
        unit: 'short',
        span: 6,
        amber: 1,
        red: 0.5,
        alert: 'MillraceSinkAway',
      }),
    )
    .withPanel(
      lines({
        title: 'By outcome',
        queries: [[`sum by (outcome) (${rate(`millrace_pictures_total{${P}}`)})`, '{{outcome}}']],
        unit: 'ops',
        span: 12,
        stacked: true,
      }),
    )
    .withPanel(
      lines({
        title: 'By platform',
        queries: [[`sum by (platform) (${rate(`millrace_pictures_total{${P}}`)})`, '{{platform}}']],
        unit: 'ops',
        span: 12,
        stacked: true,
      }),
    )
    .withRow(new RowBuilder('Where does the time go?'))
    .withPanel(
      lines({
        title: 'Time by stage, median',
        queries: [[quantile(0.5, 'picture_stage_duration_seconds', I, 'stage'), '{{stage}}']],
        unit: 's',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Time by stage, p95',
        queries: [[quantile(0.95, 'picture_stage_duration_seconds', I, 'stage'), '{{stage}}']],
        unit: 's',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'In each stage at a time',
        // Seconds spent in a stage per second: how many are in it on average.
        queries: [
          [`sum by (stage) (${rate(`millrace_picture_stage_duration_seconds_sum{${I}}`)})`, '{{stage}}'],
        ],
        unit: 'short',
        span: 8,
        stacked: true,
      }),
    )
    .withRow(new RowBuilder('The worker threads'))
    .withPanel(
      lines({
        title: 'Waiting for a thread',
        queries: [[`millrace_picture_pool_queue_size{${I}}`, '{{instance}}']],
        unit: 'short',
        span: 8,
        alert: 'MillracePoolFull',
      }),
    )
    .withPanel(
      lines({
        title: 'Threads busy',
        queries: [[`millrace_picture_pool_utilisation_ratio{${I}}`, '{{instance}}']],
        unit: 'percentunit',
        span: 8,
        alert: 'MillracePoolFull',
      }),
    )
    .withPanel(
      lines({
        title: 'Cores used, and resident memory',
        queries: [
          [
            `${rate(`process_cpu_seconds_total{${I}}`)} and on (instance) millrace_daemon_ready`,
            '{{instance}} cores',
          ],
          [
            `process_resident_memory_bytes{${I}} / 1e9 and on (instance) millrace_daemon_ready`,
            '{{instance}} GB',
          ],
        ],
        unit: 'short',
        span: 8,
        alert: 'MillraceMemory',
      }),
    )
    .build()
}
