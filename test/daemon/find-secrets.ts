/** Where texts hold a secret: in which form, and what stands around it. Written without a look at how they are hidden. */
export function findSecrets(
  texts: Readonly<Record<string, string>>,
  secrets: Readonly<Record<string, string>>,
): string[] {
  const found: string[] = []
  for (const [where, text] of Object.entries(texts)) {
    for (const [name, secret] of Object.entries(secrets)) {
      for (const [form, written] of formsOf(secret)) {
        const index = text.indexOf(written)
        if (index < 0) continue
        found.push(
          `${where} holds ${name} (${form}): …${text.slice(Math.max(0, index - 80), index + written.length)}`,
        )
      }
    }
  }
  return found
}

/** Half of a secret is a leak, too: forms are looked for by their first and their last half. */
function formsOf(secret: string): [form: string, written: string][] {
  const forms: [string, string][] = [
    ['plain', secret],
    ['in JSON', JSON.stringify(secret).slice(1, -1)],
    ['in JSON in JSON', JSON.stringify(JSON.stringify(secret)).slice(3, -3)],
    ['in an address', encodeURIComponent(secret)],
    ['in a form', new URLSearchParams({ a: secret }).toString().slice(2)],
    ['in HTML', secret.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;')],
    ['in PHP', secret.replaceAll('/', '\\/')],
    ['in hexadecimal', Buffer.from(secret).toString('hex')],
  ]
  for (const before of ['', 'x', 'xx']) {
    const text = Buffer.from(before + secret).toString('base64')
    forms.push([`in base64 after ${before.length}`, text.slice(4, -4)])
  }
  return forms.flatMap(([form, written]): [string, string][] => {
    const middle = Math.ceil(written.length / 2)
    return [
      [`${form}, first half`, written.slice(0, middle)],
      [`${form}, last half`, written.slice(middle)],
    ]
  })
}
