import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { assemblePage } from './assemble.ts'

/** The console, ready to be sent, with the content security policy that lets exactly this page run. */
export interface ConsolePage {
  readonly html: Buffer
  readonly gzipped: Buffer
  readonly contentSecurityPolicy: string
}

/**
 * Makes the console page. Its inline script and style are allowed by their hashes and nothing else is: text from a failure's
 * message could not become code even if the page had a hole.
 */
export async function loadConsolePage(): Promise<ConsolePage> {
  const text = await assemblePage(new URL('./console/', import.meta.url))
  const html = Buffer.from(text)
  const contentSecurityPolicy = [
    "default-src 'none'",
    `script-src ${hashesOf(text, 'script')}`,
    `style-src ${hashesOf(text, 'style')}`,
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')
  return { html, gzipped: gzipSync(html, { level: 9 }), contentSecurityPolicy }
}

function hashesOf(html: string, tag: 'script' | 'style'): string {
  const hashes: string[] = []
  for (const [, content = ''] of html.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))) {
    hashes.push(`'sha256-${createHash('sha256').update(content).digest('base64')}'`)
  }
  return hashes.length === 0 ? "'none'" : hashes.join(' ')
}
