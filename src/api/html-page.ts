import { createHash } from 'node:crypto'

/** A page with the policy that lets exactly it run: its inline script and style by their hashes, and nothing else. */
export interface HtmlPage {
  readonly html: string
  readonly contentSecurityPolicy: string
}

/** `html`: a whole page, self-contained. */
export function htmlPage(html: string): HtmlPage {
  const hashes = (tag: 'script' | 'style') => {
    const found = [...html.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, 'gs'))].map(
      ([, content = '']) => `'sha256-${createHash('sha256').update(content).digest('base64')}'`,
    )
    return found.length === 0 ? "'none'" : found.join(' ')
  }
  const contentSecurityPolicy = [
    "default-src 'none'",
    `script-src ${hashes('script')}`,
    `style-src ${hashes('style')}`,
    "connect-src 'self'",
    "img-src 'self' data: https:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
  return { html, contentSecurityPolicy }
}
