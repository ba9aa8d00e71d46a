import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/** The console, ready to be sent, with the content security policy that lets exactly this page run. */
export interface ConsolePage {
  readonly html: Buffer
  readonly contentSecurityPolicy: string
}

/**
 * Reads the console page. Its inline script and style are allowed by their hashes and nothing else is: text from a failure's
 * message could not become code even if the page had a hole.
 */
export async function loadConsolePage(): Promise<ConsolePage> {
  const html = await readFile(new URL('./console.html', import.meta.url))
  const text = html.toString('utf8')
  const contentSecurityPolicy = [
    "default-src 'none'",
    `script-src ${hashesOf(text, 'script')}`,
    `style-src ${hashesOf(text, 'style')}`,
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
  return { html, contentSecurityPolicy }
}

function hashesOf(html: string, tag: 'script' | 'style'): string {
  const hashes: string[] = []
  for (const [, content = ''] of html.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))) {
    hashes.push(`'sha256-${createHash('sha256').update(content).digest('base64')}'`)
  }
  return hashes.length === 0 ? "'none'" : hashes.join(' ')
}
