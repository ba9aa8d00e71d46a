/** Colours as the system has them, or as somebody chose in this browser. @param {HTMLElement} fieldset */
export function themeSwitch(fieldset) {
  const inputs = /** @type {NodeListOf<HTMLInputElement>} */ (fieldset.querySelectorAll('input'))
  const set = (/** @type {string} */ theme) => {
    document.documentElement.dataset.theme = theme
    for (const input of inputs) input.checked = input.value === theme
  }
  const kept = localStorage.getItem('millrace-theme')
  set(kept === 'light' || kept === 'dark' ? kept : 'auto')
  fieldset.addEventListener('change', (event) => {
    const { value } = /** @type {HTMLInputElement} */ (event.target)
    localStorage.setItem('millrace-theme', value)
    set(value)
  })
}
