import { readFile } from 'node:fs/promises'
import type { App } from '../context.ts'
import { htmlPage } from '../html-page.ts'

/** `/`: the page that shows the numbers to people. It holds none itself: it asks the routes, with the viewer's own proof. */
export async function pageRoute(app: App): Promise<void> {
  const page = htmlPage(await readFile(new URL('../page.html', import.meta.url), 'utf8'))
  app.get('/', { schema: { hide: true } }, async (_request, reply) =>
    reply
      .header('content-security-policy', page.contentSecurityPolicy)
      .header('cache-control', 'no-cache')
      .type('text/html; charset=utf-8')
      .send(page.html),
  )
}
