import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseCount } from '../../src/platforms/count.ts'
import { emailIn } from '../../src/platforms/email.ts'
import { normaliseHandle } from '../../src/platforms/handle.ts'
import { dropFlags, engagementRate, qualityFlags } from '../../src/platforms/quality.ts'
import { BUILT_IN } from '../../src/platforms/registry.ts'
import { cleanLine, cleanText } from '../../src/platforms/text.ts'

test('reads counts as people write them', () => {
  const cases: [string, number | undefined][] = [
    ['1.5M', 1_500_000],
    ['500K', 500_000],
    ['1,234', 1234],
    ['1.234', 1234],
    ['2,5 Mio.', 2_500_000],
    ['3 Tsd.', 3000],
    ["12'345", 12_345],
    ['1 234 567', 1_234_567],
    ['1\u202F234', 1234],
    ['1,234.5K', 1_234_500],
    ['12,34,567', 1_234_567],
    ['3.2万', 32_000],
    ['1.1B', 1_100_000_000],
    ['0', 0],
    ['+7', 7],
    ['1.5', undefined],
    ['-3', undefined],
    ['', undefined],
    ['many', undefined],
    ['1.2.3M', undefined],
    ['5 parsecs', undefined],
    ['9'.repeat(400), undefined],
    ['1.2B', 1_200_000_000],
    ['3 тыс.', 3000],
    ['1,2 млн', 1_200_000],
    ['2,5 Mrd.', 2_500_000_000],
    ['1.5 m', 1_500_000],
    ['1,5K', 1500],
    ['1.234K', 1234],
    ['12.345,6K', 12_345_600],
    ['1,234,567', 1_234_567],
    ['1.234.567', 1_234_567],
    ['1’234', 1234],
    ['１２', undefined],
    ['1,23', undefined],
    ['1,2345', undefined],
    ['12,345.6', undefined],
    ['K', undefined],
    ['.5M', undefined],
    ['5,M', undefined],
    ['1.5MM', undefined],
    ['1e6', undefined],
    ['0x10', undefined],
    ['1/2', undefined],
    ['5-6K', undefined],
    ['100%', undefined],
    ['9007199254740993', undefined],
  ]
  for (const [text, count] of cases) assert.equal(parseCount(text), count, JSON.stringify(text))
  assert.equal(parseCount(12.4), 12)
  assert.equal(parseCount(Number.NaN), undefined)
  assert.equal(parseCount(null), undefined)
})

test('every whole number is read back from every way of grouping it', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 2 ** 40 }),
      fc.constantFrom(',', '.', "'", ' ', '\u00A0'),
      (count, separator) => {
        const grouped = String(count).replaceAll(/\B(?=(\d{3})+$)/g, separator)
        assert.equal(parseCount(grouped), count)
      },
    ),
  )
})

test('finds an e-mail address in a biography, also when it is spelled', () => {
  assert.equal(emailIn('Write me: Foo.Bar+pr@Example.co.uk. Thanks'), 'foo.bar+pr@example.co.uk')
  assert.equal(emailIn('hi foo (at) bar [dot] com'), 'foo@bar.com')
  assert.equal(emailIn('jane[at]example.org'), 'jane@example.org')
  assert.equal(emailIn('a..b@example.org or c@example.org'), 'c@example.org')
  assert.equal(emailIn('\u{1F600}hello@a.io\u{1F600}'), 'hello@a.io')
  assert.equal(emailIn('look at dot com, or x@y, @handle'), '')
})

test('makes no address of what is none', () => {
  for (const text of [
    'Find us at example dot com',
    'jane at example dot org',
    'müller@example.com',
    'info@müller.de',
    'пример@example.com',
    'jane@example.comé',
    'jane@example',
    'jane@example.c',
    'jane@example.com.1',
    '@jane.example',
    'jane @ example . org',
    'jane(at)example',
    'me (at) the beach (dot)',
    `${'a'.repeat(70)}@example.org`,
    '.@example.org',
  ]) {
    assert.equal(emailIn(text), '', text)
  }
})

test('an endless biography is searched in no time', () => {
  // Processor time: the machine may be busy with other things.
  const before = process.cpuUsage()
  emailIn(`${'a.'.repeat(20_000)}@`)
  emailIn('a@'.repeat(20_000))
  emailIn('x at '.repeat(20_000))
  assert.ok(process.cpuUsage(before).user < 1_000_000)
})

test('removes what nobody sees, and keeps what belongs to the writing', () => {
  assert.equal(cleanText('a\u200Bb\u0000c\u202Ed\uFEFF'), 'abcd')
  assert.equal(cleanText('e\u0301'), '\u00E9')
  assert.equal(cleanText('\u{1F469}\u200D\u{1F4BB}'), '\u{1F469}\u200D\u{1F4BB}')
  assert.equal(cleanText('می\u200Cخواهم'), 'می\u200Cخواهم')
  assert.equal(cleanText('x\u200Dy'), 'xy')
  assert.equal(cleanText(' one\r\n\r\n\r\n\r\ntwo \t three '), 'one\n\ntwo three')
  assert.equal(cleanText('half \ud83d pair'), 'half pair')
  assert.equal(cleanLine('a\nb'), 'a b')
  assert.equal(cleanText('ab\u{1F600}', 3), 'ab')
  assert.equal(cleanText(null), '')
  assert.equal(cleanLine('\u3164\u3164'), '')
  assert.equal(cleanLine('\u2067Ann\u2069\u180E\u034F'), 'Ann')
  assert.equal(cleanLine('tab\there\u0085there\u0007'), 'tab here there')
  // A flag is spelled with letters that nobody sees.
  const scotland = '\u{1F3F4}\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}'
  assert.equal(cleanText(scotland), scotland)
  assert.equal(cleanText('\u2764\uFE0F'), '\u2764\uFE0F')
})

test('cleaning a text twice changes nothing more', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) =>
      assert.equal(cleanText(cleanText(text)), cleanText(text)),
    ),
    { numRuns: 50 },
  )
})

test('handles are compared as the platform does', () => {
  assert.equal(normaliseHandle('instagram', ' @Blue.Bottle_1 '), 'blue.bottle_1')
  assert.equal(normaliseHandle('tiktok', 'Joe11235'), 'joe11235')
  assert.equal(normaliseHandle('youtube', '@Bücher-Ecke'), 'bücher-ecke')
  for (const wrong of ['', 'a b', 'two..dots', 'ends.', '@', 'x'.repeat(31), 'a{b}', 'a)b']) {
    assert.throws(() => normaliseHandle('instagram', wrong), /expected a username/, wrong)
  }
  for (const wrong of ['x', 'x'.repeat(25), 'ends.', 'a-b', 'ä_b']) {
    assert.throws(() => normaliseHandle('tiktok', wrong), /2 to 24/, wrong)
  }
  for (const wrong of ['ab', 'x'.repeat(31), 'a b c', 'a/b/c', 'a@bc']) {
    assert.throws(() => normaliseHandle('youtube', wrong), /3 to 30/, wrong)
  }
  assert.equal(normaliseHandle('youtube', '@a.b-c_d·e'), 'a.b-c_d·e')
  assert.equal(normaliseHandle('youtube', '@ユーチューブ'), 'ユーチューブ')
  // As pages and chats have them: with marks that nobody sees, and letters in two parts.
  assert.equal(normaliseHandle('instagram', '\u2068@blue\u200Bbottle\u2069'), 'bluebottle')
  assert.equal(normaliseHandle('youtube', 'Bu\u0308cher'), 'bücher')
})

test('a YouTube creator is a channel id or a handle', () => {
  const creatorId = BUILT_IN.get('youtube')?.creatorId
  assert.equal(creatorId?.('UC_x5XG1OV2P6uZZ5FSM9Ttw'), 'UC_x5XG1OV2P6uZZ5FSM9Ttw')
  assert.equal(creatorId?.('@GoogleDevelopers'), '@googledevelopers')
  assert.equal(creatorId?.('GoogleDevelopers'), '@googledevelopers')
  assert.throws(
    () => creatorId?.('https://youtube.com/x'),
    /a channel id \(UC and 22 characters\) or a handle/,
  )
})

test('flags large accounts with an engagement that does not happen by itself', () => {
  assert.deepEqual(qualityFlags({ followers: 100_001, engagementRate: 0.21 }), ['suspicious_engagement'])
  assert.deepEqual(qualityFlags({ followers: 100_000, engagementRate: 0.5 }), [])
  assert.deepEqual(qualityFlags({ followers: 5_000_000, engagementRate: 0.2 }), [])
  assert.deepEqual(qualityFlags({ followers: 5_000_000 }), [])
  assert.deepEqual(qualityFlags({}), ['hidden_followers'])
})

test('flags a creator who lost more than half of the followers', () => {
  assert.deepEqual(dropFlags({ followers: 1000 }, { followers: 499 }), ['suspicious_drop'])
  assert.deepEqual(dropFlags({ followers: 1000 }, { followers: 500 }), [])
  assert.deepEqual(dropFlags({}, { followers: 1 }), [])
})

test('the engagement rate leaves out posts that hide their likes', () => {
  assert.equal(engagementRate(1000, [{ likes: 90, comments: 10 }, { comments: 500 }, { likes: 100 }]), 0.1)
  assert.equal(engagementRate(1000, []), undefined)
  assert.equal(engagementRate(0, [{ likes: 1 }]), undefined)
})
