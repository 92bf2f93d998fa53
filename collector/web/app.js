// The page: the frame around the views, and which view the address means.
//
// - parts/place, parts/as_of: where the page is, also in the log
// - parts/api, parts/live, parts/models, parts/samples: what the collector says
// - parts/html, parts/bits, parts/words, parts/time, parts/say: how things are written and said aloud
// - parts/plot, parts/charts, parts/timeline: how things are drawn
// - views: one view a file

/** @import { Place } from './parts/types.js' */

import { Component, html, render, useEffect, useElement, useRef } from './parts/html.js';
import { AsOf, asOfOf } from './parts/as_of.js';
import { Empty, Problem } from './parts/bits.js';
import { useLive } from './parts/live.js';
import { painted } from './parts/measure.js';
import { useModel } from './parts/models.js';
import { link, usePlace } from './parts/place.js';
import { Aloud } from './parts/say.js';
import { zone } from './parts/time.js';
import { plain } from './parts/words.js';
import { Breakdown } from './views/breakdown.js';
import { Breakdowns } from './views/breakdowns.js';
import { Machine } from './views/machine.js';
import { Machines } from './views/machines.js';
import { Sources } from './views/sources.js';
import { WhatIf } from './views/what_if.js';

const VIEWS = [['machines', 'Machines'], ['breakdowns', 'Breakdowns'], ['sources', 'Sources'], ['what-if', 'What if']];

const LIVE = { live: '● live', reconnecting: '○ reconnecting…', off: '❙❙ paused' };

/**
 * @param {Place} at
 * @param {string | null} asOf
 */
function view(at, asOf) {
  const [name = 'machines', item] = at.path;
  switch (name) {
    case 'machines': return item === undefined ? html`<${Machines} asOf=${asOf} />`
      : html`<${Machine} key=${item} name=${item} at=${at} asOf=${asOf} />`;
    case 'breakdowns': return item === undefined ? html`<${Breakdowns} asOf=${asOf} />`
      : html`<${Breakdown} key=${item} id=${item} at=${at} asOf=${asOf} />`;
    case 'sources': return html`<${Sources} asOf=${asOf} at=${at} />`;
    case 'what-if': return html`<${WhatIf} asOf=${asOf} />`;
    default: return html`<h1>Nothing here</h1>
      <${Empty} title="There is no such view."><p><a href=${link(['machines'])}>See the machines</a>.</p><//>`;
  }
}

/** A view that breaks says so, and leaves the way to the others open. */
class Guard extends Component {
  /** @param {Error} error */
  componentDidCatch(error) {
    this.setState({ error });
    console.error(error);
  }

  render({ children }, { error }) {
    return error ? html`<h1>This view broke</h1><${Problem} error=${error} />` : children;
  }
}

function App() {
  const at = usePlace();
  const asOf = asOfOf(at);
  const status = useLive(asOf == null);
  const states = useModel('states', asOf, { intervals: 0 });
  // What cannot be asked for is not known to be so any more: it loses its colours.
  const old = asOf == null && (status === 'reconnecting' || states.error !== undefined);
  const main = useElement();
  const path = at.path.join('/');
  const first = useRef(true);
  // A view knows its heading only once its model has answered.
  useEffect(() => {
    const entitle = () => {
      document.title = `${main.current.querySelector('h1')?.textContent ?? 'Afferent'} · Afferent`;
    };
    const observer = new MutationObserver(entitle);
    observer.observe(main.current, { subtree: true, childList: true, characterData: true });
    entitle();
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (first.current) painted('first view');
    // Whoever follows a link is led to the new view's heading, as a new page would do.
    else { scrollTo(0, 0); main.current.focus({ preventScroll: true }); }
    first.current = false;
  }, [path]);
  const skip = (event) => { event.preventDefault(); main.current.focus(); };
  return html`<a class="skip" href="#main" onClick=${skip}>Skip to content</a>
    <header><span class="brand">Afferent</span>
      <nav aria-label="Views"><ul>${VIEWS.map(([name, title]) => html`<li key=${name}>
        <a href=${link([name])} aria-current=${(at.path[0] ?? 'machines') === name ? 'page' : undefined}>
          ${title}</a></li>`)}</ul></nav>
      <span class="stream ${status}" role="status">${LIVE[status]}</span></header>
    <${AsOf} asOf=${asOf} time=${states.time} />
    <main id="main" class=${old ? 'old' : undefined} ref=${main} tabindex="-1">
      <${Guard} key=${path}>${view(at, asOf)}<//></main>
    <${Aloud} /><footer class="quiet">${location.host} · times in ${zone()}
      ${states.offset != null && ` · state of offset ${plain(states.offset, 20)}`} · <a href="/v1/agents">API</a>
    </footer>`;
}

render(html`<${App} />`, document.getElementById('app'));
