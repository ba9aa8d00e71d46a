import { byId, setText } from './dom.js'

const KEY = 'millrace-token'
const TOAST_MS = 6_000

/** @typedef {{ title: string, text: string, yes: string, label?: string, secret?: boolean, max?: number }} Question */

/**
 * Whatever changes something: asks first, sends the admin token in a header, says what came of it. The token is kept for this tab
 * and nowhere else.
 */
export function actor() {
  const dialog = /** @type {HTMLDialogElement} */ (byId('ask'))
  const input = /** @type {HTMLInputElement} */ (byId('ask-input'))
  const key = byId('key')
  const toast = byId('toast')
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let fading

  /** @param {string} text @param {boolean} isBad */
  function say(text, isBad = false) {
    setText(toast, text)
    toast.dataset.tone = isBad ? 'bad' : 'fine'
    toast.hidden = false
    clearTimeout(fading)
    fading = setTimeout(() => {
      toast.hidden = true
    }, TOAST_MS)
  }

  function showKey() {
    setText(key, sessionStorage.getItem(KEY) === null ? 'Unlock' : 'Lock')
  }

  /** @param {string} path @param {object} body @param {string} token @returns {Promise<{ status: number, message: string }>} */
  async function post(path, body, token) {
    try {
      const reply = await fetch(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      })
      const text = await reply.text()
      /** @type {{ message?: string }} */
      const said = reply.headers.get('content-type')?.startsWith('application/json')
        ? JSON.parse(text)
        : { message: text.trim() }
      return { status: reply.status, message: said.message ?? '' }
    } catch {
      return { status: 0, message: 'The daemon does not answer.' }
    }
  }

  /** Resolves with what was typed, or null. `attempt` may say what is wrong with it. @param {Question} question @param {(typed: string) => Promise<string | null>} attempt @returns {Promise<string | null>} */
  function ask({ title, text, yes, label, secret = false, max = 200 }, attempt) {
    setText(byId('ask-title'), title)
    setText(byId('ask-text'), text)
    setText(byId('ask-yes'), yes)
    setText(byId('ask-problem'), '')
    byId('ask-label').hidden = label === undefined
    setText(/** @type {Element} */ (byId('ask-label').firstElementChild), label ?? '')
    input.value = ''
    input.type = secret ? 'password' : 'text'
    input.maxLength = max
    dialog.showModal()
    ;(label === undefined ? byId('ask-yes') : input).focus()
    return new Promise((resolve) => {
      const over = new AbortController()
      const { signal } = over
      let answer = /** @type {string | null} */ (null)
      dialog.addEventListener(
        'close',
        () => {
          over.abort()
          resolve(answer)
        },
        { signal },
      )
      byId('ask-no').addEventListener('click', () => dialog.close(), { signal })
      const form = /** @type {HTMLFormElement} */ (dialog.firstElementChild)
      form.addEventListener(
        'submit',
        async (event) => {
          event.preventDefault()
          const typed = input.value
          const problem = await attempt(typed)
          if (problem !== null) return setText(byId('ask-problem'), problem)
          answer = typed
          dialog.close()
        },
        { signal },
      )
    })
  }

  /** The token of this tab, asked for when there is none. @returns {Promise<string | null>} */
  async function tokenOf() {
    const kept = sessionStorage.getItem(KEY)
    if (kept !== null) return kept
    const question = {
      title: 'Admin token',
      text: 'Whoever changes something has to have it: admin.token in the configuration. It is kept until this tab is closed.',
      yes: 'Unlock',
      label: 'Token',
      secret: true,
    }
    const token = await ask(question, async (typed) => {
      if (!/^[\x21-\x7e]{1,200}$/.test(typed)) return 'That cannot be a token.'
      const { status, message } = await post('token', {}, typed)
      return status === 200 ? null : message
    })
    if (token !== null) sessionStorage.setItem(KEY, token)
    showKey()
    return token
  }

  key.addEventListener('click', () => {
    if (sessionStorage.getItem(KEY) === null) return void tokenOf()
    sessionStorage.removeItem(KEY)
    showKey()
  })
  showKey()

  return {
    /** @param {boolean} canChange whether the daemon has a token at all */
    allow(canChange) {
      key.hidden = !canChange
    },
    /** Asks, sends, tells. @param {string} path @param {Question} question @param {(typed: string) => object} bodyOf @param {string} done */
    async run(path, question, bodyOf, done) {
      const token = await tokenOf()
      if (token === null) return
      const answer = await ask(question, async (typed) => {
        const { status, message } = await post(path, bodyOf(typed), token)
        if (status === 401) {
          sessionStorage.removeItem(KEY)
          showKey()
        }
        return status === 200 ? null : message
      })
      if (answer !== null) say(done)
    },
  }
}
