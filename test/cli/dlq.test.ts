import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { HEADERS } from '../../src/job/job.ts'
import { headerText, type SourceRecord } from '../../src/job/record.ts'
import { cutRecord } from '../../src/pipeline/messages.ts'
import { Millrace } from '../daemon/process.ts'
import { type Dead, deadLetters, jobValue, openRig, type Rig } from '../dead-letters/rig.ts'

const many = (count: number, dead: Omit<Dead, 'offset'>, from = 0): Dead[] =>
  Array.from({ length: count }, (_, index) => ({ ...dead, offset: from + index }))

async function buried(t: TestContext, kind: Rig['kind'], dead: readonly Dead[]): Promise<Rig | undefined> {
  const rig = await openRig(t, kind)
  if (rig === undefined || dead.length === 0) return rig
  await rig.publish(rig.dead, deadLetters(rig.jobs, dead))
  assert.equal(await rig.count(rig.dead), dead.length, 'dead letters to begin with')
  return rig
}

const lines = (stdout: string) => stdout.trimEnd().split('\n')
const cells = (line: string | undefined) => line?.trim().split(/\s{2,}/)
const objects = (stdout: string) => lines(stdout).map((line) => JSON.parse(line) as Record<string, unknown>)
const creators = (records: readonly SourceRecord[]) =>
  records.map(({ value }) => (JSON.parse(value!.toString('utf8')) as { job_id: string }).job_id)

/** The id of the newest letter with this reason. */
async function idOf(rig: Rig, reason: string): Promise<string> {
  const { stdout } = await rig.run('list', '--json', '--reason', reason)
  return String(objects(stdout)[0]!.newestId)
}

for (const kind of ['kafka', 'files'] as const) {
  describe(`dlq on ${kind}`, () => {
    it('says that there are none', async (t) => {
      const rig = await buried(t, kind, [])
      if (rig === undefined) return
      const list = await rig.run('list')
      assert.equal(list.code, 0, list.stderr)
      assert.match(list.stdout, /^no dead letters in .*millrace\.dead|^no dead letters in dlq-.*\.dead/)
      const replay = await rig.run('replay', '--reason', 'timeout')
      assert.equal(replay.code, 0, replay.stderr)
      assert.match(replay.stdout, /^no dead letter in .* matches\n$/)
    })

    it('lists them by platform and reason, most first, with the newest of each', async (t) => {
      const hostile = `${'x'.repeat(70)}\u001b[2J${'y'.repeat(50)}`
      const rig = await buried(t, kind, [
        ...many(3, { reason: 'timeout', platform: 'youtube', key: Buffer.from('same') }),
        ...many(5, { reason: 'not_found' }, 10),
        ...many(1, { reason: 'malformed', value: Buffer.from('{'), key: Buffer.from('tiktok:x') }, 20),
        ...many(1, { reason: 'internal', value: null, key: null, message: hostile }, 30),
      ])
      if (rig === undefined) return
      const { code, stdout, stderr } = await rig.run('list')
      assert.equal(code, 0, stderr)
      const [titles, ...rows] = lines(stdout).map(cells)
      assert.deepEqual(titles, [
        'platform',
        'reason',
        'letters',
        'replayed',
        'oldest',
        'newest',
        'id of newest',
        'its message',
      ])
      assert.deepEqual(
        rows.slice(0, 2).map((row) => row!.filter((_, index) => index < 4 || index === 7)),
        [
          ['instagram', 'not_found', '5', '0', 'it was not_found'],
          ['youtube', 'timeout', '3', '0', 'it was timeout'],
        ],
      )
      assert.match(stdout, /tiktok +malformed +1 /)
      const unknown = rows.find((row) => row![1] === 'internal')!
      assert.equal(unknown[0], 'unknown')
      assert.equal(unknown[7], `${'x'.repeat(70)}\\u{1b}[2J…`, 'no escape sequence, 80 wide')
      assert.equal(lines(stdout).at(-1), '10 dead letters, 0 replayed')

      const json = objects((await rig.run('list', '--json', '--platform', 'youtube')).stdout)
      assert.equal(json.length, 1)
      const { platform, reason, count, replayed, oldest, newest, newestId, message } = json[0]!
      assert.deepEqual(
        [platform, reason, count, replayed, message],
        ['youtube', 'timeout', 3, 0, 'it was timeout'],
      )
      assert.ok(Date.parse(String(oldest)) <= Date.parse(String(newest)))
      assert.match(String(newestId), /^\d-\d+$/)
    })

    it('narrows by reason, platform and time', async (t) => {
      const rig = await buried(t, kind, [
        ...many(2, { reason: 'timeout' }),
        ...many(3, { reason: 'not_found' }, 10),
        ...many(4, { reason: 'timeout', platform: 'tiktok' }, 20),
      ])
      if (rig === undefined) return
      const counts = async (...args: string[]) => {
        const { stdout } = await rig.run('list', '--json', ...args)
        return stdout === '' ? [] : objects(stdout).map(({ count }) => count)
      }
      assert.deepEqual(await counts('--reason', 'timeout'), [4, 2])
      assert.deepEqual(await counts('--reason', 'timeout', 'not_found', '--platform', 'instagram'), [3, 2])
      assert.deepEqual(await counts('--since', '1h'), [4, 3, 2])
      assert.deepEqual(await counts('--since', new Date(Date.now() + 60_000).toISOString()), [])
      const none = await rig.run('list', '--platform', 'nobody')
      assert.equal(none.code, 0)
      assert.match(none.stdout, /matches/)
    })

    it('shows one of them: headers, key, and the value decoded', async (t) => {
      const json = '{"platform":"instagram","n":12345678901234567890,"list":[1,{}],"n":2}'
      const binary = Buffer.concat([Buffer.from([0, 255, 27]), randomBytes(500)])
      const rig = await buried(t, kind, [
        {
          reason: 'malformed',
          value: Buffer.from(json),
          headers: {
            trace: Buffer.from('abc'),
            twice: [Buffer.from('1'), Buffer.from('2')],
            raw: binary.subarray(0, 3),
          },
        },
        { reason: 'internal', value: binary, key: null },
        { reason: 'expired', value: Buffer.from('no json\u001b[2J') },
      ])
      if (rig === undefined) return
      const id = await idOf(rig, 'malformed')
      const shown = await rig.run('show', id)
      assert.equal(shown.code, 0, shown.stderr)
      assert.match(shown.stdout, new RegExp(`^${id}: .*dead, partition \\d, offset \\d+, \\d{4}-`))
      const text = lines(shown.stdout)
      for (const line of [
        'trace: abc',
        'twice: 1',
        'twice: 2',
        'raw: 0x00ff1b',
        `${HEADERS.reason}: malformed`,
        `${HEADERS.originalTopic}: ${rig.jobs}`,
        'key: instagram:c0',
        `value, ${json.length} bytes, JSON:`,
        '  "n": 12345678901234567890,',
        '  "n": 2',
        '    {}',
      ]) {
        assert.ok(text.includes(line), `${line} in\n${shown.stdout}`)
      }
      const report = objects((await rig.run('show', id, '--json')).stdout)[0]!
      assert.equal(report.value, json)
      assert.deepEqual((report.headers as Record<string, unknown>).twice, ['1', '2'])
      assert.deepEqual((report.headers as Record<string, unknown>).raw, { base64: 'AP8b' })
      assert.equal((report.json as { platform: string }).platform, 'instagram')

      const dump = await rig.run('show', await idOf(rig, 'internal'))
      assert.match(
        dump.stdout,
        /^key: none\nvalue, 503 bytes, not UTF-8, the first 256 of them:\n00000000 {2}00 ff 1b /m,
      )
      assert.match(dump.stdout, /^000000f0 {2}.*\n$/m)
      const plain = await rig.run('show', await idOf(rig, 'expired'))
      assert.match(plain.stdout, /^value, 11 bytes, text:\nno json\\u\{1b\}\[2J\n$/m)
    })

    it('says that there is none with an id, in one line, with exit code 1', async (t) => {
      const rig = await buried(t, kind, many(2, { reason: 'timeout', key: Buffer.from('same') }))
      if (rig === undefined) return
      const id = await idOf(rig, 'timeout')
      const inside = kind === 'files' ? ['0-1', `0-${Number(id.split('-')[1]) + 1}`] : []
      for (const missing of ['0-99999', '77-0', ...inside]) {
        const { code, stdout, stderr } = await rig.run('show', missing)
        assert.deepEqual([code, stdout], [1, ''])
        assert.match(stderr, new RegExp(`^millrace: dlq: there is no dead letter ${missing} in .*dead.*\n$`))
      }
      const replay = await rig.run('replay', '--id', id, '0-99999')
      assert.equal(replay.code, 1)
      assert.match(replay.stderr, /there is no dead letter 0-99999 in /)
      assert.equal(await rig.count(rig.back), 0)
    })

    it('sends back byte for byte, with the headers of the producer and the identity of the job', async (t) => {
      const value = Buffer.concat([randomBytes(300), Buffer.from([0, 10, 13])])
      const foreign = {
        campaign: Buffer.from('spring'),
        twice: [Buffer.from('1'), Buffer.alloc(0), Buffer.from('2')],
        empty: Buffer.alloc(0),
        binary: Buffer.from([0, 255, 128]),
        traceparent: Buffer.from('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'),
        'millrace-of-somebody': Buffer.from('kept'),
        constructor: Buffer.from('inherited'),
      }
      const rig = await buried(t, kind, [
        { reason: 'malformed', offset: 4_711, value, key: Buffer.from([0, 255]), headers: foreign },
        { reason: 'malformed', offset: 4_712, value: Buffer.alloc(0), key: null },
        { reason: 'malformed', offset: 4_713, value: null, key: Buffer.alloc(0) },
      ])
      if (rig === undefined) return
      const beforeMs = Date.now()
      const { code, stdout, stderr } = await rig.run('replay', '--reason', 'malformed')
      assert.equal(code, 0, stderr)
      assert.equal(stdout, `3 sent back to ${rig.back}\n`)
      const back = await rig.read(rig.back)
      assert.equal(back.length, 3)
      const at = (offset: number) =>
        back.find(({ headers }) => headerText(headers, HEADERS.originalOffset) === String(offset))!
      const { key, value: sent, headers } = at(4_711)
      assert.deepEqual([key, sent], [Buffer.from([0, 255]), value])
      const { [HEADERS.replayOf]: replayOf, [HEADERS.replayedAt]: replayedAt, ...rest } = headers
      assert.match(String(replayOf), /^\d-\d+$/)
      assert.ok(Number(replayedAt) >= beforeMs && Number(replayedAt) <= Date.now())
      assert.deepEqual(
        { ...rest },
        {
          ...foreign,
          [HEADERS.originalTopic]: Buffer.from(rig.jobs),
          [HEADERS.originalPartition]: Buffer.from('0'),
          [HEADERS.originalOffset]: Buffer.from('4711'),
          [HEADERS.originalTimestamp]: Buffer.from(String(Date.UTC(2026, 0, 31, 8))),
        },
      )
      assert.deepEqual([at(4_712).key, at(4_712).value?.length], [null, 0])
      assert.deepEqual([at(4_713).key?.length, at(4_713).value], [0, null])
    })

    it('sends each back once, and knows afterwards which', async (t) => {
      const rig = await buried(t, kind, [
        ...many(250, { reason: 'timeout', key: Buffer.from('same') }),
        ...many(5, { reason: 'not_found' }, 1_000),
      ])
      if (rig === undefined) return
      const first = await rig.run('replay', '--reason', 'timeout')
      assert.equal(first.stdout, `250 sent back to ${rig.back}\n`, first.stderr)
      const back = await rig.read(rig.back)
      assert.deepEqual(
        creators(back),
        Array.from({ length: 250 }, (_, index) => `c${index}`),
        'in their order',
      )
      const second = await rig.run('replay', '--reason', 'timeout')
      assert.equal(second.code, 0)
      assert.equal(second.stdout, '0 sent back, 250 left out: 250 replayed before\n')
      await rig.publish(rig.dead, deadLetters(rig.jobs, many(1, { reason: 'timeout' }, 0)))
      const third = await rig.run('replay', '--reason', 'timeout', 'not_found')
      assert.equal(
        third.stdout,
        `6 sent back to ${rig.back}, 250 left out: 250 replayed before\n`,
        'a job that died again is another letter',
      )
      assert.equal(await rig.count(rig.back), 256)
      const list = await rig.run('list')
      assert.match(list.stdout, /timeout +251 +251 /)
      assert.match(list.stdout, /256 dead letters, 256 replayed\n$/)
    })

    it('says in a dry run what it would send, and sends nothing', async (t) => {
      const rig = await buried(t, kind, [
        ...many(3, { reason: 'timeout' }),
        ...many(4, { reason: 'upstream_error', platform: 'tiktok' }, 10),
        ...many(1, { reason: 'timeout', fields: { expires_at: '2026-02-01T00:00:00Z' } }, 20),
      ])
      if (rig === undefined) return
      const { code, stdout, stderr } = await rig.run(
        'replay',
        '--reason',
        'timeout',
        'upstream_error',
        '--dry-run',
      )
      assert.equal(code, 0, stderr)
      const [titles, ...rows] = lines(stdout)
      assert.deepEqual(cells(titles), ['platform', 'reason', 'letters'])
      assert.deepEqual(rows.slice(0, 2).map(cells), [
        ['tiktok', 'upstream_error', '4'],
        ['instagram', 'timeout', '3'],
      ])
      assert.equal(
        rows[2],
        `7 would be sent back to ${rig.back}, 1 left out: 1 past the expires_at of the job`,
      )
      assert.equal(await rig.count(rig.back), 0)
      assert.match((await rig.run('list')).stdout, /8 dead letters, 0 replayed/)
    })

    it('leaves out what cannot be sent, and says why', async (t) => {
      const rig = await buried(t, kind, [
        { reason: 'timeout', fields: { expires_at: new Date(Date.now() + 3_600_000).toISOString() } },
        { reason: 'timeout', fields: { expires_at: '2026-02-01T00:00:00Z' } },
        { reason: 'timeout', topic: 'somebody.elses' },
        { reason: 'timeout', topic: '__consumer_offsets' },
        { reason: 'timeout', offset: 50, key: Buffer.from('same') },
        { reason: 'timeout', offset: 50, key: Buffer.from('same'), message: 'the later one' },
      ])
      if (rig === undefined) return
      const [large] = deadLetters(rig.jobs, [
        { reason: 'timeout', offset: 60, value: Buffer.alloc(200_000, 'x') },
      ])
      const [bare] = deadLetters(rig.jobs, [{ reason: 'timeout', offset: 70 }])
      const { [HEADERS.originalOffset]: _, ...headers } = bare!.headers
      await rig.publish(rig.dead, [cutRecord(large!), { ...bare!, headers }])
      const { code, stdout, stderr } = await rig.run('replay', '--reason', 'timeout')
      assert.equal(code, 0, stderr)
      assert.match(stdout, new RegExp(`^2 sent back to ${rig.back}, 6 left out: `))
      for (const part of [
        '1 past the expires_at of the job',
        '3 without an original topic that jobs are taken from',
        '1 older than another letter of the same job',
        '1 cut (only the beginning of the value is there)',
      ]) {
        assert.ok(stdout.includes(part), stdout)
      }
      assert.deepEqual(creators(await rig.read(rig.back)).toSorted(), ['c0', 'c50'])
      const again = await rig.run('replay', '--reason', 'timeout')
      assert.match(
        again.stdout,
        /^0 sent back, 8 left out: .*3 replayed before/,
        'the older one is remembered too',
      )
    })

    it('sends those with the ids, whatever else there is', async (t) => {
      const rig = await buried(t, kind, [
        { reason: 'timeout', key: Buffer.from('same') },
        { reason: 'not_found', key: Buffer.from('same') },
        { reason: 'expired', key: Buffer.from('same') },
        { reason: 'private', key: Buffer.from('same') },
      ])
      if (rig === undefined) return
      const ids = [await idOf(rig, 'private'), await idOf(rig, 'not_found')]
      const { code, stdout, stderr } = await rig.run('replay', '--id', ...ids)
      assert.equal(code, 0, stderr)
      assert.equal(stdout, `2 sent back to ${rig.back}\n`)
      assert.deepEqual(creators(await rig.read(rig.back)), ['c1', 'c3'])
    })

    it('keeps to a rate', async (t) => {
      const rig = await buried(t, kind, many(60, { reason: 'timeout' }))
      if (rig === undefined) return
      const startedMs = performance.now()
      const command = rig.start(['replay', '--reason', 'timeout', '--rate', '20/s'])
      const { code, stdout, stderr } = await command.ended
      const tookMs = performance.now() - startedMs
      assert.equal(code, 0, stderr)
      assert.equal(stdout, `60 sent back to ${rig.back}\n`)
      // The last of 60 at 20 a second goes after 2.9 s; the start of the process comes on top.
      assert.ok(tookMs > 2_800, `60 at 20/s in ${Math.round(tookMs)} ms`)
    })

    it('Ctrl-C in the middle loses nothing: the next run sends the rest, each once', async (t) => {
      const rig = await buried(t, kind, many(600, { reason: 'timeout' }))
      if (rig === undefined) return
      const command = rig.start(['replay', '--reason', 'timeout', '--rate', '10/s'])
      while ((await rig.count(rig.back)) < 10) await new Promise((done) => setTimeout(done, 20))
      command.child.kill('SIGINT')
      const { code, stdout, stderr } = await command.ended
      assert.equal(code, 1, stderr)
      const match = new RegExp(
        `^stopped: (\\d+) sent back to ${rig.back}, (\\d+) dead letters not sent yet: the same command goes on\n$`,
      ).exec(stdout)
      assert.ok(match !== null, stdout)
      const [sent, left] = [Number(match[1]), Number(match[2])]
      assert.equal(sent + left, 600)
      assert.equal(await rig.count(rig.back), sent)
      const rest = await rig.run('replay', '--reason', 'timeout')
      assert.equal(
        rest.stdout,
        `${left} sent back to ${rig.back}, ${sent} left out: ${sent} replayed before\n`,
      )
      assert.equal(new Set(creators(await rig.read(rig.back))).size, 600)
      assert.equal(await rig.count(rig.back), 600)
    })
  })
}

describe('dlq', () => {
  it('says that no broker answers, with exit code 3', async (t) => {
    const rig = await openRig(t, 'files')
    if (rig === undefined) return
    for (const args of [['list'], ['show', '0-1'], ['replay', '--reason', 'timeout']]) {
      const env = { MILLRACE_KAFKA__BROKERS: '127.0.0.1:1', MILLRACE_LIMITS__SHARE: '1/2' }
      const command = new Millrace(['dlq', ...args], { env })
      t.after(() => command.kill())
      const { code, stderr } = await command.ended
      assert.equal(code, 3, stderr)
      assert.match(stderr, /^millrace: Kafka does not answer at 127\.0\.0\.1:1 .*\n$/)
    }
  })

  it('names the topic that is missing', async (t) => {
    const rig = await openRig(t, 'kafka')
    if (rig === undefined) return
    for (const [args, variable, said] of [
      [['list'], 'MILLRACE_KAFKA__DEAD_TOPIC', /lacks the topic not-there: check kafka\.dead_topic\n$/],
      [
        ['replay', '--reason', 'timeout'],
        'MILLRACE_KAFKA__REPLAYED_TOPIC',
        /lacks the topic not-there: create it, or set kafka\.create_topics: true\n$/,
      ],
    ] as const) {
      const command = new Millrace(['dlq', ...args, '--config', rig.config], {
        env: { [variable]: 'not-there' },
      })
      t.after(() => command.kill())
      const { code, stderr } = await command.ended
      assert.equal(code, 2, stderr)
      assert.match(stderr, said)
    }
  })

  it('lists without the topic of marks, which old deployments lack', async (t) => {
    const rig = await buried(t, 'kafka', many(2, { reason: 'timeout' }))
    if (rig === undefined) return
    const env = { MILLRACE_KAFKA__REPLAYED_TOPIC: 'not-there' }
    const command = new Millrace(['dlq', 'list', '--config', rig.config], { env })
    t.after(() => command.kill())
    const { code, stdout, stderr } = await command.ended
    assert.equal(code, 0, stderr)
    assert.match(stdout, /2 dead letters, 0 replayed/)
  })

  it('tells of a letter that its topic does not take, sends the others, and ends with exit code 1', async (t) => {
    const rig = await buried(t, 'kafka', [
      { reason: 'timeout', key: Buffer.from('same') },
      { reason: 'timeout', key: Buffer.from('same'), value: Buffer.alloc(1_500_000, 'x') },
      { reason: 'timeout', key: Buffer.from('same') },
    ])
    if (rig === undefined) return
    const { code, stdout, stderr } = await rig.run('replay', '--reason', 'timeout')
    assert.equal(code, 1, stderr)
    assert.equal(stdout, `2 sent back to ${rig.jobs}, 1 left out: 1 too large for the topic\n`)
    assert.deepEqual(creators(await rig.read(rig.jobs)), ['c0', 'c2'])
    assert.match((await rig.run('list')).stdout, /3 dead letters, 2 replayed/)
  })

  it('without Kafka the next run does what was sent back, as the jobs that they were', async (t) => {
    const rig = await buried(t, 'files', [])
    if (rig === undefined) return
    const run = async (jobs: string) => {
      const input = join(dirname(rig.config), 'jobs.ndjson')
      writeFileSync(input, jobs)
      const env = { MILLRACE_ADMIN__ENABLED: 'false' }
      const command = new Millrace(['run', '--input', input, '--config', rig.config], { env })
      t.after(() => command.kill())
      const { code, stderr } = await command.ended
      assert.equal(code, 0, stderr)
    }
    await run('{"platform":"nobodys","creator_id":"a","job_type":"profile","job_id":"j1"}\nnot json\n')
    await rig.run('replay', '--reason', 'unknown_platform')
    await run('')
    const letters = await rig.read(rig.dead)
    assert.equal(letters.length, 3)
    const [first, second] = letters.filter(({ value }) => String(value).includes('nobodys'))
    for (const name of [HEADERS.originalTopic, HEADERS.originalPartition, HEADERS.originalOffset]) {
      assert.deepEqual(second!.headers[name], first!.headers[name], name)
    }
    assert.deepEqual(second!.value, first!.value)
    assert.match(headerText(second!.headers, HEADERS.replayOf)!, /^0-\d+$/)
    const { stdout } = await rig.run('list', '--reason', 'unknown_platform')
    assert.match(stdout, /nobodys +unknown_platform +2 +1 /)
  })

  it('a letter that was sent back for another reason is not sent for an older one', async (t) => {
    const rig = await buried(t, 'files', [
      { reason: 'timeout', offset: 1, value: jobValue('instagram', 'c1') },
      { reason: 'not_found', offset: 1, value: jobValue('instagram', 'c1') },
    ])
    if (rig === undefined) return
    await rig.run('replay', '--reason', 'not_found')
    const { stdout } = await rig.run('replay', '--reason', 'timeout')
    assert.equal(stdout, '0 sent back, 1 left out: 1 replayed before\n')
    assert.equal(await rig.count(rig.back), 1)
  })

  it('refuses what it does not understand, with exit code 2', async (t) => {
    const rig = await buried(t, 'files', [])
    if (rig === undefined) return
    for (const [args, said] of [
      [['list', '--reason', 'boredom'], /--reason: found "boredom", expected malformed, unknown_platform, /],
      [['list', '--since', 'yesterday'], /--since: found "yesterday", expected a duration/],
      [['show', '12'], /found "12", expected the id of a dead letter/],
      [['replay'], /replay: expected which letters/],
      [['replay', '--platform', 'tiktok'], /replay: expected which letters/],
      [['replay', '--reason', 'timeout', '--id', '0-1'], /replay: expected which letters/],
      [['replay', '--reason', 'timeout', '--rate', '50'], /--rate: found "50", expected letters a second/],
      [['replay', '--reason', 'timeout', '--rate', '0/s'], /--rate: found "0\/s"/],
      [['replay', '--id', '1-2-3'], /found "1-2-3", expected the id/],
    ] as const) {
      const { code, stdout, stderr } = await rig.run(...args)
      assert.deepEqual([code, stdout], [2, ''], `${args.join(' ')}: ${stderr}`)
      assert.match(stderr, said)
    }
    const bare = new Millrace(['dlq'])
    t.after(() => bare.kill())
    const { code, stderr } = await bare.ended
    assert.equal(code, 2)
    assert.match(stderr, /^Usage: millrace dlq .*list.*show \[options\] <id>.*replay/s)
  })
})
