import type { App } from '../context.ts'
import { type Document, docsHtml } from '../docs-html.ts'
import { htmlPage } from '../html-page.ts'

/** `/openapi.json`, and `/docs`, the same for people. Open to all: they say nothing about anybody. */
export function docsRoutes(app: App): void {
  let page: ReturnType<typeof htmlPage> | undefined
  app.get('/openapi.json', { schema: { hide: true } }, async (_request, reply) =>
    reply
      .header('cache-control', 'public, max-age=300')
      .type('application/json; charset=utf-8')
      .send(JSON.stringify(app.swagger())),
  )
  app.get('/docs', { schema: { hide: true } }, async (_request, reply) => {
    page ??= htmlPage(docsHtml(app.swagger() as unknown as Document))
    return reply
      .header('content-security-policy', page.contentSecurityPolicy)
      .header('cache-control', 'public, max-age=300')
      .type('text/html; charset=utf-8')
      .send(page.html)
  })
}
