import assert from 'node:assert/strict'
import { type Row, RowsRejectedError } from '../../../src/job/row.ts'
import { select } from '../../../src/timeseries/engine.ts'
import { count, jobRows, point } from '../../timeseries/support.ts'
import { type ContractTest, CREATOR, MEDIA } from './suite.ts'

/** Texts that parsers stumble over. */
const TEXTS = {
  empty: '',
  emoji: '👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ☃',
  nul: 'before\u0000after',
  controls: '\u0001\u0008\t\n\r\u001f\u007f\u0085',
  marks: '\u2028\u2029\ufeff\u200f\u202eabc',
  quotes: `'"\`\\ \\n \\N {x:String} -- ; /* */ ,] [ null NULL`,
  arabic: 'مرحبا بالعالم',
  'ten kilobytes': 'Biographie 🎬 '.repeat(700),
  'a hundred': 'x'.repeat(100_000),
}

/** Texts arrive as they are, or not at all. */
export function textsContract(contractTest: ContractTest): void {
  contractTest(
    'stores every text as it is, where people wrote it and where it is an id',
    async (engine, write) => {
      await Promise.all(
        Object.entries(TEXTS).map(([what, text]) =>
          write({
            ...jobRows(`text ${what}`, [
              {
                ...CREATOR,
                name: text,
                handle: text,
                biography: text,
                email: text,
                pictureUrl: text,
                flags: [text],
              },
              { ...MEDIA, mediaId: text, kind: text, title: text, url: text },
              point(text, 1),
            ]),
            creatorId: `${what} ${text}`,
          }),
        ),
      )
      for (const [what, text] of Object.entries(TEXTS)) {
        const of = async (columns: string, table: string) =>
          (
            await select<Record<string, unknown>>(
              engine,
              `SELECT ${columns} FROM ${table} FINAL WHERE job_id = 'text ${what}'`,
            )
          )[0]
        const id = `${what} ${text}`
        assert.deepEqual(
          await of('creator_id, name, handle, biography, email, picture_url, flags', 'creators'),
          {
            ...{
              creator_id: id,
              name: text,
              handle: text,
              biography: text,
              email: text,
              picture_url: text,
            },
            flags: [text],
          },
        )
        assert.deepEqual(await of('creator_id, media_id, kind, title, url', 'media'), {
          ...{ creator_id: id, media_id: text, kind: text, title: text, url: text },
        })
        assert.deepEqual(await of('creator_id, metric', 'points'), { creator_id: id, metric: text })
      }
    },
  )

  contractTest(
    'mends half a surrogate pair in prose, and refuses it in what has to be found again',
    async (engine, write, sink) => {
      await write(
        jobRows('cut', [
          { ...CREATOR, biography: 'cut \ud83d' },
          { ...MEDIA, title: '\udc4d cut' },
        ]),
      )
      const [bio] = await select(engine, `SELECT biography FROM creators FINAL WHERE job_id = 'cut'`)
      const [title] = await select(engine, `SELECT title FROM media FINAL WHERE job_id = 'cut'`)
      assert.deepEqual([bio, title], [{ biography: 'cut \ufffd' }, { title: '\ufffd cut' }])
      const bad: Row[] = [
        point('cut \ud83d', 1),
        { ...MEDIA, mediaId: '\ud83d' },
        { ...CREATOR, flags: ['\udc4d'] },
      ]
      // Beside good ones in one batch, which must not suffer.
      const ends = await Promise.allSettled([
        ...bad.map((row, n) => write(jobRows(`half${n}`, [row]))),
        ...[0, 1, 2].map((n) => write(jobRows(`whole${n}`, [point('followers', n), MEDIA, CREATOR]))),
      ])
      assert.deepEqual(
        ends.map(({ status }) => status),
        [...bad.map(() => 'rejected'), ...[0, 1, 2].map(() => 'fulfilled')],
      )
      for (const end of ends)
        if (end.status === 'rejected') assert.ok(end.reason instanceof RowsRejectedError)
      assert.equal(await count(engine, `creators FINAL WHERE startsWith(job_id, 'whole')`), 3)
      assert.equal(sink.healthy, true)
    },
  )

  contractTest('refuses what plain JavaScript may pass for a text, a flag or a moment', async (_, write) => {
    const wrong: readonly Row[] = [
      { ...CREATOR, name: undefined as never },
      { ...CREATOR, verified: null as never },
      { ...CREATOR, flags: [7 as never] },
      { ...MEDIA, mediaId: 7 as never },
      { ...MEDIA, publishedAtMs: null as never },
      { ...MEDIA, publishedAtMs: Number.NaN },
      { ...MEDIA, publishedAtMs: Date.UTC(1969, 11, 31) },
      { ...MEDIA, publishedAtMs: Date.UTC(2100, 0) },
      { table: 'points', metric: undefined as never, value: 1 },
    ]
    for (const row of wrong) await assert.rejects(write(jobRows('wrong', [row])), RowsRejectedError)
  })
}
