import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { startAdmin } from './start.ts'

test('allows exactly its own script and style, and no request beyond its own origin', async (t) => {
  const reply = await fetch(await startAdmin(t))
  const html = await reply.text()
  const policy = reply.headers.get('content-security-policy') ?? ''
  for (const tag of ['script', 'style']) {
    const content = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(html)![1]!
    const hash = createHash('sha256').update(content).digest('base64')
    assert.ok(policy.includes(`${tag}-src 'sha256-${hash}'`), `${tag} is allowed by its hash`)
  }
  assert.doesNotMatch(policy, /unsafe|\*|https?:/)
})

test('has nothing that the policy would block, and no way in for markup', async (t) => {
  const html = await (await fetch(await startAdmin(t))).text()
  assert.doesNotMatch(html, /\son\w+="/, 'an inline handler')
  assert.doesNotMatch(html, /\sstyle="/, 'an inline style')
  assert.doesNotMatch(html, /(src|href)="(https?:)?\/\//, 'an outside address')
  assert.doesNotMatch(html, /innerHTML|insertAdjacentHTML|document\.write|\beval\(/)
})
