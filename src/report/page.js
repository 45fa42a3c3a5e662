(() => {
  const get = (id) => document.getElementById(id)
  const rules = [...document.querySelectorAll('#rules > li')].map((item) => ({ item, text: item.textContent.toLowerCase() }))
  const filters = ['severity', 'status', 'kind'].map((name) => [name, get(name)])
  const search = get('search')
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean)
    let shown = 0
    for (const { item, text } of rules) {
      const wanted = filters.every(([name, select]) => !select.value || item.dataset[name].split(' ').includes(select.value))
      item.hidden = !(wanted && words.every((word) => text.includes(word)))
      shown += item.hidden ? 0 : 1
    }
    get('count').textContent = `${shown} of ${rules.length} rules`
    get('none').hidden = shown > 0
  }
  search.addEventListener('input', show)
  for (const [, select] of filters) select.addEventListener('change', show)
  get('theme').addEventListener('click', () => {
    const root = document.documentElement
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches
    root.dataset.theme = dark ? 'light' : 'dark'
  })
  let closed = []
  // Paper shows all of what asks for something to be done, or of what the reader has looked for; of the rest a line.
  addEventListener('beforeprint', () => {
    const all = rules.some(({ item }) => item.hidden)
    const wanted = all ? [''] : ['[data-status~=open]', '[data-status~=not_reviewed]']
    closed = wanted.flatMap((status) => [...document.querySelectorAll(`#rules > li${status}:not([hidden]) details:not([open])`)])
    for (const details of closed) details.open = true
  })
  addEventListener('afterprint', () => { for (const details of closed) details.open = false })
  for (const element of document.querySelectorAll('.scripted')) element.hidden = false
  show()
})()
