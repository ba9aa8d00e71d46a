import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMetrics, prefersOpenMetrics } from '../../src/telemetry/exposition.ts'

test('names a counter’s family without _total, and its samples with it', () => {
  const plain = [
    '# HELP a_total Says "so".',
    '# TYPE a_total counter',
    'a_total{b="c"} 1',
    '',
    '# HELP total_seconds d',
    '# TYPE total_seconds gauge',
    'total_seconds 2',
    '',
  ].join('\n')
  assert.equal(
    openMetrics(plain),
    [
      '# HELP a Says \\"so\\".',
      '# TYPE a counter',
      'a_total{b="c"} 1',
      '# HELP total_seconds d',
      '# TYPE total_seconds gauge',
      'total_seconds 2',
      '# EOF',
      '',
    ].join('\n'),
  )
})

const ACCEPTS: readonly [accept: string | undefined, open: boolean][] = [
  [undefined, false],
  ['*/*', false],
  ['text/html,application/xhtml+xml,*/*;q=0.8', false],
  ['text/plain;version=0.0.4', false],
  ['application/openmetrics-text', true],
  ['application/openmetrics-text;version=0.0.1', false],
  ['application/openmetrics-text; version=1.0.0; charset=utf-8', true],
  ['application/openmetrics-text;version=1.0.0;q=0', false],
  ['text/plain;q=0.9,application/openmetrics-text;version=1.0.0;q=0.1', false],
  // Prometheus 2.42, and 3.
  [
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    true,
  ],
  [
    'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.3',
    true,
  ],
]

for (const [accept, open] of ACCEPTS) {
  test(`answers ${open ? 'OpenMetrics' : 'plain text'} to Accept: ${accept ?? '(none)'}`, () => {
    assert.equal(prefersOpenMetrics(accept), open)
  })
}
