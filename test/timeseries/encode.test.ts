import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Row, RowsRejectedError } from '../../src/job/row.ts'
import { encode } from '../../src/timeseries/encode.ts'
import { COLUMNS } from '../../src/timeseries/tables.ts'
import { jobRows, point } from './support.ts'

const LIMITS = { rowsMax: 10_000, bytesMax: 8_000_000 }
const TS_MS = Date.UTC(2026, 10, 21, 0, 40, 35, 123)

const ONE_OF_EACH: readonly Row[] = [
  point('followers', 1234.5),
  {
    table: 'creators',
    name: 'Ann "A"',
    handle: 'ann',
    biography: 'line\nline',
    verified: true,
    gone: false,
    flags: ['x', 'y'],
    email: '',
    pictureUrl: 'https://example.org/a.jpg',
  },
  { table: 'media', mediaId: 'm1', kind: 'image', title: 't', url: 'u', publishedAtMs: 5_999 },
  { table: 'media_points', mediaId: 'm1', metric: 'likes', value: 7 },
  {
    table: 'pictures',
    subject: 'avatar',
    variant: 'w320',
    key: 'k',
    sourceUrl: 's',
    sha256: 'ab',
    width: 320,
    height: 200,
    bytes: 4_000,
    thumbhash: 'zz',
  },
  { table: 'jobs', jobType: 'profile', status: 'dead', reason: 'not_found', attempts: 3, durationMs: 12.6 },
]

describe('encode', () => {
  test('writes a row of each table with a cell for every column', () => {
    const parcels = encode(jobRows('j1', ONE_OF_EACH, { tsMs: TS_MS, observedAtMs: TS_MS + 877 }), LIMITS)
    const cells = Object.fromEntries(
      parcels.map((parcel) => [parcel.table, JSON.parse(parcel.text) as unknown[]]),
    )
    for (const [table, columns] of Object.entries(COLUMNS))
      assert.equal(cells[table]?.length, columns.length, table)
    const head = [1795221635123, 1795221636, 'instagram', 'creator-j1', 'j1']
    assert.deepEqual(cells.points, [...head, 'followers', 1234.5])
    const picture = ['https://example.org/a.jpg']
    assert.deepEqual(cells.creators, [
      ...head,
      'Ann "A"',
      'ann',
      'line\nline',
      true,
      false,
      ['x', 'y'],
      '',
      ...picture,
      1234.5,
    ])
    assert.deepEqual(cells.media, [...head, 'm1', 'image', 't', 'u', 5])
    assert.deepEqual(cells.media_points, [...head, 'm1', 'likes', 7])
    assert.deepEqual(cells.pictures, [...head, 'avatar', 'w320', 'k', 's', 'ab', 320, 200, 4_000, 'zz'])
    const ended = [head[0], 1795221636000, ...head.slice(2)]
    assert.deepEqual(cells.jobs, [...ended, 'profile', 'dead', 'not_found', 3, 13])
  })

  test('puts rows of a month into that partition, and facts into one', () => {
    const parcels = encode(jobRows('j1', ONE_OF_EACH, { tsMs: TS_MS }), LIMITS)
    const partitions = Object.fromEntries(parcels.map((parcel) => [parcel.table, parcel.partition]))
    assert.deepEqual(partitions, {
      points: '202611',
      creators: 'all',
      media: 'all',
      media_points: '202611',
      pictures: 'all',
      jobs: '202611',
    })
  })

  test('counts rows and UTF-8 bytes, and splits what passes a limit', () => {
    const rows = Array.from({ length: 25 }, (_, index) => point(`métrique-${index}`, index))
    const parcels = encode(jobRows('j1', rows), { rowsMax: 10, bytesMax: 8_000_000 })
    assert.deepEqual(parcels.map((parcel) => parcel.rows).sort(), [10, 10, 5])
    for (const parcel of parcels) {
      assert.equal(parcel.bytes, Buffer.byteLength(parcel.text))
      assert.equal(parcel.text.split('\n').length - 1, parcel.rows)
    }
    const small = encode(jobRows('j1', rows), { rowsMax: 10_000, bytesMax: 300 })
    assert.ok(small.every((parcel) => parcel.bytes <= 300))
    assert.equal(
      small.reduce((sum, parcel) => sum + parcel.rows, 0),
      25,
    )
  })

  test('makes the same bytes of the same job', () => {
    const job = jobRows('j1', ONE_OF_EACH, { tsMs: TS_MS })
    assert.deepEqual(encode(job, LIMITS), encode(job, LIMITS))
  })

  test('mends prose that was cut through an emoji', () => {
    const media: Row = {
      table: 'media',
      mediaId: 'm',
      kind: '',
      title: 'cut \ud83d',
      url: '',
      publishedAtMs: 0,
    }
    const [parcel] = encode(jobRows('j1', [media]), LIMITS)
    assert.deepEqual((JSON.parse(parcel?.text ?? '') as unknown[]).slice(5, 8), ['m', '', 'cut \ufffd'])
  })

  const picture = ONE_OF_EACH[4] as Extract<Row, { table: 'pictures' }>
  const job = ONE_OF_EACH[5] as Extract<Row, { table: 'jobs' }>
  const wrong: readonly [string, () => unknown][] = [
    ['a number that is not finite', () => encode(jobRows('j', [point('followers', Number.NaN)]), LIMITS)],
    [
      'an infinite number',
      () => encode(jobRows('j', [point('followers', Number.POSITIVE_INFINITY)]), LIMITS),
    ],
    ['a number that would wrap', () => encode(jobRows('j', [{ ...job, attempts: 70_000 }]), LIMITS)],
    ['a negative width', () => encode(jobRows('j', [{ ...picture, width: -1 }]), LIMITS)],
    ['half a byte', () => encode(jobRows('j', [{ ...picture, bytes: 0.5 }]), LIMITS)],
    ['a moment that would be clamped', () => encode(jobRows('j', [], { tsMs: Date.UTC(2200, 0) }), LIMITS)],
    ['half an emoji in an id', () => encode(jobRows('j', [point('\ud83d', 1)]), LIMITS)],
    ['no moment', () => encode(jobRows('j', [], { observedAtMs: Number.NaN }), LIMITS)],
  ]
  for (const [name, run] of wrong) {
    test(`refuses ${name}`, () => assert.throws(run, RowsRejectedError))
  }
})
