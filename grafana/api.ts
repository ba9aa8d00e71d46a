import { type Dashboard, RowBuilder } from '@grafana/grafana-foundation-sdk/dashboard'
import { page } from './page.ts'
import { lines, stat } from './panels.ts'
import { I, NONE, quantile, rate } from './queries.ts'

const REQUESTS = `millrace_api_request_duration_seconds_count{${I}`
/** Daemons that do not serve the API have its gauge too, at 0. */
const HERE = 'and on (instance) millrace_api_ready == 1'

/** *API*: does the analytics API answer, how fast, and does it find its answers kept? */
export function api(): Dashboard {
  return page({
    title: 'API',
    uid: 'millrace-api',
    of: 'api',
    description: 'The analytics API: whether it answers, how fast, and from where.',
  })
    .withRow(new RowBuilder('Does it answer?'))
    .withPanel(
      stat({
        title: 'Processes ready',
        queries: [[`sum(millrace_api_ready{${I}})`, 'ready']],
        unit: 'short',
        span: 4,
        amber: 1,
        red: 0.5,
        alert: 'MillraceApiDown',
      }),
    )
    .withPanel(
      stat({
        title: 'Requests a second',
        queries: [[`sum(${rate(`${REQUESTS}}`)})`, 'all']],
        unit: 'reqps',
        span: 5,
      }),
    )
    .withPanel(
      stat({
        title: 'Failed by our fault, last 10 minutes',
        queries: [[`max(millrace:api_failed_share:10m) ${NONE}`, 'share']],
        about: 'Replies of 500 and above, of all requests (of fifty at least).',
        unit: 'percentunit',
        span: 5,
        amber: 0.005,
        red: 0.02,
        alert: 'MillraceApiErrors',
      }),
    )
    .withPanel(
      stat({
        title: 'Time of a reply, p95',
        queries: [[quantile(0.95, 'api_request_duration_seconds', I, ''), 'p95']],
        unit: 's',
        span: 5,
        amber: 0.25,
        red: 1,
      }),
    )
    .withPanel(
      stat({
        title: 'Stream clients',
        queries: [[`sum(millrace_api_stream_clients{${I}})`, 'clients']],
        unit: 'short',
        span: 5,
      }),
    )
    .withPanel(
      lines({
        title: 'Requests by status',
        queries: [[`sum by (status) (${rate(`${REQUESTS}}`)})`, '{{status}}']],
        unit: 'reqps',
        span: 12,
        stacked: true,
        alert: 'MillraceApiErrors',
      }),
    )
    .withPanel(
      lines({
        title: 'Requests by route',
        queries: [[`sum by (route) (${rate(`${REQUESTS}}`)})`, '{{route}}']],
        unit: 'reqps',
        span: 12,
        stacked: true,
      }),
    )
    .withRow(new RowBuilder('How fast?'))
    .withPanel(
      lines({
        title: 'Median by route',
        queries: [[quantile(0.5, 'api_request_duration_seconds', I, 'route'), '{{route}}']],
        unit: 's',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'p95 by route',
        queries: [[quantile(0.95, 'api_request_duration_seconds', I, 'route'), '{{route}}']],
        unit: 's',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Where answers come from',
        queries: [[`sum by (state) (${rate(`millrace_api_answers_total{${I}}`)})`, '{{state}}']],
        unit: 'ops',
        span: 8,
        stacked: true,
      }),
    )
    .withRow(new RowBuilder('Its processes'))
    .withPanel(
      lines({
        title: 'Event loop, p99',
        queries: [[`millrace_event_loop_delay_seconds{${I},stat="p99"} ${HERE}`, '{{instance}}']],
        unit: 's',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Cores used',
        queries: [[`${rate(`process_cpu_seconds_total{${I}}`)} ${HERE}`, '{{instance}}']],
        about: 'One is what a process can use: JavaScript runs on one core.',
        unit: 'short',
        span: 8,
      }),
    )
    .withPanel(
      lines({
        title: 'Resident memory',
        queries: [[`process_resident_memory_bytes{${I}} ${HERE}`, '{{instance}}']],
        about: 'Of the whole process; where a daemon serves the API it is the daemon’s.',
        unit: 'bytes',
        span: 8,
      }),
    )
    .build()
}
