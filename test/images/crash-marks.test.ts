import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FileCrashMarks } from '../../src/images/crash-marks.ts'
import { drawn } from './sources.ts'
import { LOG, openPool, temporaryFolder } from './stage-parts.ts'

const [A, B] = ['a'.repeat(64), 'b'.repeat(64)]

/** What a process leaves behind that is killed in the middle of decoding. */
async function killedWhileDecoding(path: string, ...pictures: string[]): Promise<void> {
  const module = new URL('../../src/images/crash-marks.ts', import.meta.url).href
  const code = `
    const { FileCrashMarks } = await import(${JSON.stringify(module)})
    const log = { warn() {}, info() {}, error() {} }
    const marks = new FileCrashMarks({ path: ${JSON.stringify(path)}, slots: 4, log })
    await marks.start()
    for (const picture of ${JSON.stringify(pictures)}) await marks.begin(picture)
    process.kill(process.pid, 'SIGKILL')`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'ignore' })
  const [, signal] = await once(child, 'exit')
  assert.equal(signal, 'SIGKILL')
}

async function opened(path: string, options: { now?: () => number } = {}): Promise<FileCrashMarks> {
  const marks = new FileCrashMarks({ path, slots: 4, log: LOG, ...options })
  await marks.start()
  return marks
}

test('tries that the process did not survive are counted, those that ended are not', async (t) => {
  const path = join(await temporaryFolder(t), 'state', 'marks')
  await killedWhileDecoding(path, A, B)
  let marks = await opened(path)
  assert.equal(await marks.begin(A), 1)
  await marks.end(A, 'survived')
  assert.equal(await marks.begin(A), 0, 'it was decoded after all')
  await marks.stop()
  await killedWhileDecoding(path, B)
  marks = await opened(path)
  assert.equal(await marks.begin(B), 2, 'the one killed above, and the one before')
  await marks.end(B, 'not_tried')
  assert.equal(await marks.begin(B), 2, 'not tried proves nothing')
  await marks.end(B, 'not_tried')
  assert.equal(await marks.begin(A), 1, 'it was marked still when its marks were stopped')
  await marks.stop()
})

test('a crash is forgotten after its time', async (t) => {
  const path = join(await temporaryFolder(t), 'marks')
  await killedWhileDecoding(path, A)
  let marks = await opened(path)
  await marks.stop()
  marks = await opened(path, { now: () => Date.now() + 25 * 60 * 60 * 1000 })
  assert.equal(await marks.begin(A), 0)
  await marks.stop()
})

test('files that are damaged count as no crashes', async (t) => {
  const path = join(await temporaryFolder(t), 'marks')
  await writeFile(path, Buffer.from([0, 255, 10, 13, 7]))
  await writeFile(`${path}.json`, '{"x":')
  const marks = await opened(path)
  assert.equal(await marks.begin(A), 0)
  await marks.stop()
})

test('more tries than slots, or the same picture twice, is an error of ours', async (t) => {
  const marks = await opened(join(await temporaryFolder(t), 'marks'))
  await marks.begin(A)
  await assert.rejects(() => marks.begin(A))
  for (const digit of ['1', '2', '3']) await marks.begin(digit.repeat(64))
  await assert.rejects(() => marks.begin('4'.repeat(64)))
  await marks.stop()
})

test('a picture that killed the process twice is refused at its third try, and only that one', async (t) => {
  const path = join(await temporaryFolder(t), 'marks')
  await killedWhileDecoding(path, A)
  await killedWhileDecoding(path, A)
  const { pool } = await openPool(t, { marksPath: path })
  await pool.start()
  const jpeg = await drawn(100, 100).jpeg().toBuffer()
  const signal = new AbortController().signal
  for (let again = 0; again < 2; again++) {
    const refused = await pool.resize({ bytes: Buffer.from(jpeg), sha256: A }, signal)
    assert.ok(refused.status === 'rejected' && /the process died 2 times/.test(refused.why))
  }
  assert.equal((await pool.resize({ bytes: Buffer.from(jpeg), sha256: B }, signal)).status, 'made')
})
