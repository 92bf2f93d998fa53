// What people would stumble over in the page as it is, each as a sentence. The measures are those of WCAG 2.2, level AA.

const faults = [];
const name = (element) => `${element.localName}.${element.className} “${element.textContent.trim().slice(0, 30)}”`;
const isShown = (element) => element.getClientRects().length > 0 && !element.closest('.unseen, .skip, caption, thead, .u-legend');
const all = (selector, root = document) => [...root.querySelectorAll(selector)].filter(isShown);

// 1.4.10: nothing is wider than the page.
const over = document.documentElement.scrollWidth - innerWidth;
if (over > 0) faults.push(`the page is ${over} px too wide`);

// 2.4.2, 1.3.1: a title, and headings without a gap.
const headings = [...document.querySelectorAll('h1, h2, h3, h4')].map((heading) => Number(heading.localName[1]));
if (headings.filter((level) => level === 1).length !== 1) faults.push('there is not one h1');
headings.forEach((level, at) => { if (at > 0 && level > headings[at - 1] + 1) faults.push(`h${level} comes after h${headings[at - 1]}`); });
if (!document.title.startsWith(document.querySelector('h1').textContent)) faults.push(`the title is “${document.title}”`);

// Ids, and names of landmarks, are there once.
const twice = (list) => list.filter((one, at) => list.indexOf(one) !== at);
for (const id of twice([...document.querySelectorAll('[id]')].map(({ id: own }) => own))) faults.push(`the id ${id} is there twice`);
const landmarks = [...document.querySelectorAll('section, nav, [role=region]')].map((landmark) => landmark.getAttribute('aria-label')
  ?? document.getElementById(landmark.getAttribute('aria-labelledby'))?.textContent);
for (const label of twice(landmarks)) faults.push(`the landmark ${label} is there twice`);

// 4.1.2, 2.5.8: every control has a name, and is large enough for a finger, unless it is a link in a text.
for (const control of all('a, button, input, select, textarea, summary')) {
  const label = control.getAttribute('aria-label') ?? ([...control.labels ?? []].map((one) => one.textContent).join(' ').trim() || control.textContent.trim());
  if (!label) faults.push(`${name(control)} has no name`);
  const { width, height } = control.getBoundingClientRect();
  if (!control.closest('p, td, th, h1, footer') && (width < 24 || height < 24)) faults.push(`${name(control)} is ${width} × ${height}`);
}
for (const picture of all('[role=img], canvas')) {
  if (!picture.closest('[role=img]')?.getAttribute('aria-label')) faults.push(`${name(picture)} has no words`);
}

// 1.4.3: texts stand out from what is behind them.
const parts = (colour) => colour.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
const luminance = (colour) => {
  const [red, green, blue] = parts(colour).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const { backgroundColor, backgroundImage } = getComputedStyle(at);
    if (backgroundImage !== 'none') return null;
    if ((parts(backgroundColor)[3] ?? 1) === 1) return backgroundColor;
  }
  return 'rgb(255, 255, 255)';
};
for (const element of all('body *')) {
  const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const ground = hasText && behind(element);
  if (!ground || element.closest('[aria-hidden=true], option')) continue;
  const [dark, light] = [luminance(getComputedStyle(element).color), luminance(ground)].sort((a, b) => a - b);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < 4.5) faults.push(`${name(element)} has a contrast of ${ratio.toFixed(2)}`);
}
return faults;
