// Fetches status.json every few seconds and draws it. All text comes from the cluster: it is set as text, never as
// HTML.
'use strict';

const EVERY_MILLIS = 2000;
const LATE_SECONDS = 10;
const SVG = 'http://www.w3.org/2000/svg';
let last = null;      // the page's data
let heardAt = 0;

const byId = id => document.getElementById(id);

// make('p', {class: 'soft'}, 'text', otherElement)
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  return element;
}

// ---- numbers for people

function size(bytes) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}
const rate = bytes => `${size(bytes)}/s`;
const count = number => Math.round(number).toLocaleString('en');
const perSecond = number => (number < 10 ? number.toFixed(1).replace('.0', '') : count(number));
const byName = list => [...list].sort((a, b) => a.name.localeCompare(b.name, 'en', {numeric: true}));
function millis(value) {
  if (value === 0) {
    return '–';
  }
  if (value >= 1000) {
    return `${(value / 1000).toFixed(1)} s`;
  }
  return `${value >= 10 ? Math.round(value) : value.toFixed(value >= 1 ? 1 : 2)} ms`;
}
function duration(seconds) {
  if (seconds < 90) {
    return `${Math.round(seconds)} s`;
  }
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
function clock(seconds) {
  const at = new Date(seconds * 1000);
  const today = new Date().toDateString() === at.toDateString();
  const time = at.toTimeString().slice(0, 8);
  return today ? time : `${at.getMonth() + 1}/${at.getDate()} ${time.slice(0, 5)}`;
}
const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

const mark = (kind, text) => make('span', {class: `mark ${kind}`}, text);

// A head says of its column: t text, n numbers, w text that may be long; in capitals: left out where there is no room.
function table(heads, rows, none) {
  if (rows.length === 0) {
    return make('div', {class: 'table'}, make('p', {class: 'none'}, none));
  }
  const cell = (tag, head, content) => {
    const kind = head[0].toLowerCase();
    const classes = [{n: 'number', w: 'wide'}[kind], kind === head[0] ? null : 'spare'].filter(name => name).join(' ');
    return make(tag, classes ? {class: classes} : {}, content);
  };
  const head = make('tr', {}, ...heads.map(h => cell('th', h, h.slice(2))));
  const body = rows.map(row => make('tr', {}, ...row.map((content, i) => cell('td', heads[i], content))));
  return make('div', {class: 'table'}, make('table', {}, make('thead', {}, head), make('tbody', {}, ...body)));
}

// ---- the parts of the page

const SIGNS = {healthy: '✓', degraded: '!', critical: '✕', lost: '?'};

function showVerdict(kind, title, say) {
  const box = byId('verdict');
  box.className = `verdict ${kind}`;
  box.querySelector('.sign').textContent = SIGNS[kind] || '…';
  box.querySelector('h2').textContent = title;
  box.querySelector('.say').textContent = say;
  document.title = `${SIGNS[kind] || ''} CairnFS: ${kind}`;
}

function verdict(page) {
  const critical = page.reasons.filter(reason => reason.critical).length;
  const toDo = page.reasons.filter(reason => reason.action).length;
  if (page.health === 'healthy') {
    const space = page.space.rawBytes > 0 ? `, ${size(page.space.availableBytes)} can still be written` : '';
    showVerdict('healthy', 'All is well', `Every byte has all its copies${space}. Nothing needs to be done.`);
    return;
  }
  const after = toDo === 0 ? 'It mends itself: nothing needs to be done.'
                           : `${plural(toDo, 'thing', 'things')} to do, below.`;
  if (page.health === 'critical') {
    const why = plural(critical, 'reason', 'reasons');
    showVerdict('critical', 'Critical', `${why} why something doesn't work now. ${after}`);
  } else {
    showVerdict('degraded', 'Degraded', `Everything works, with less to spare than there should be. ${after}`);
  }
}

function reasons(page) {
  byId('reasons').hidden = page.reasons.length === 0;
  byId('reasons').querySelector('ol').replaceChildren(...page.reasons.map(reason => make('li',
      {class: reason.critical ? 'bad' : 'warn'},
      mark(reason.critical ? 'bad' : 'warn', `${reason.critical ? '✕ critical' : '! warning'}`), ' ',
      make('code', {class: 'soft'}, reason.code),
      make('p', {}, reason.text),
      make('div', {class: 'next soft'}, make('b', {}, 'Next: '),
           reason.action || 'nothing, it mends itself'))));
}

function fact(value, label, bar) {
  return make('div', {class: 'fact'}, make('div', {class: 'value'}, value), bar || null,
              make('div', {class: 'label'}, label));
}

function bar(parts, title) {
  const whole = make('div', {class: 'bar', role: 'img', 'aria-label': title, title});
  for (const [kind, share] of parts) {
    const part = make('i', {class: kind});
    part.style.width = `${Math.min(100, share * 100)}%`;
    whole.append(part);
  }
  return whole;
}

function spaceBar(used, total) {
  const share = total > 0 ? used / total : 0;
  const kind = share >= 0.95 ? 'bad' : share >= 0.85 ? 'warn' : 'plain';
  return bar([[kind, share]], `${Math.round(share * 100)} % used`);
}

function facts(page) {
  const {shards, space} = page;
  const online = page.servers.filter(server => server.online).length;
  const reachable = page.masters.filter(master => master.role !== 'unreachable').length;
  const whole = shards.total || 1;
  const points = page.timeline.metadataPerSecond;
  byId('facts').replaceChildren(
      fact(`${online} of ${page.servers.length}`, 'chunkservers answer'),
      fact(`${reachable} of ${page.masters.length}`, `masters answer, ${page.leader} leads`),
      fact(`${count(shards.healthy)} of ${count(shards.total)}`, 'shards have all copies',
           bar([['', shards.healthy / whole], ['warn', (shards.degraded + shards.atRisk) / whole],
                ['bad', shards.unavailable / whole]],
               `${shards.degraded} degraded, ${shards.atRisk} with one copy, ${shards.unavailable} unavailable`)),
      fact(size(space.availableBytes), `free; ${size(space.usedBytes)} of ${size(space.rawBytes)} raw used`,
           spaceBar(space.usedBytes, space.rawBytes)),
      fact(count(space.files), 'files and directories'),
      fact(perSecond(points.length > 0 ? points[points.length - 1] : 0), 'metadata operations a second'));
}

function repair(page) {
  const {bytesLeft, bytesPerSecond, etaSeconds} = page.repair;
  const busy = bytesLeft > 0 || page.shards.misplaced > 0;
  byId('repair').hidden = !busy;
  if (!busy) {
    return;
  }
  const when = etaSeconds === null ? 'how long it takes isn’t known yet' : `about ${duration(etaSeconds)} to go`;
  const {shards} = page;
  const done = shards.total > 0 ? shards.healthy / shards.total : 0;
  byId('repair').querySelector('.body').replaceChildren(make('div', {class: 'card'},
      make('h3', {}, `${size(bytesLeft)} left to copy`, mark(bytesPerSecond > 0 ? 'note' : 'warn',
                                                           bytesPerSecond > 0 ? '▶ running' : '⏸ waiting')),
      bar([['', done]], `${Math.round(done * 100)} % of the shards have all copies`),
      make('div', {class: 'soft'}, bytesPerSecond > 0 ? `${rate(bytesPerSecond)}, ${when}; `
                                                      : 'nothing is being copied at the moment; ',
           `${plural(shards.degraded + shards.atRisk, 'shard has', 'shards have')} fewer copies than wanted`,
           shards.misplaced > 0 ? `, ${plural(shards.misplaced, 'is', 'are')} being moved` : '')));
}

// ---- charts

// A round number above all values; of bytes, round in the unit that they are shown in.
function niceTop(value, ofBytes) {
  if (value <= 1) {
    return 1;
  }
  const unit = ofBytes ? 1024 ** Math.floor(Math.log2(value) / 10) : 1;
  const power = 10 ** Math.floor(Math.log10(value / unit)) * unit;
  return [1, 2, 5, 10].map(step => step * power).find(top => top >= value);
}

function line(values, top, index, points) {
  const step = 100 / (points - 1);
  const from = points - values.length;
  const path = values.map((value, i) => `${i === 0 ? 'M' : 'L'}${((from + i) * step).toFixed(2)} ` +
                                        `${(39 - 38 * Math.min(value, top) / top).toFixed(2)}`).join('');
  return draw('path', {d: path, class: `s${index}`});
}

function chart(title, series, text, points, hours) {
  const all = series.flatMap(one => one.values);
  const top = niceTop(Math.max(0, ...all), text === rate);
  const svg = draw('svg', {viewBox: '0 0 100 40', preserveAspectRatio: 'none', role: 'img',
                           'aria-label': `${title} over the last hour`});
  for (const y of [1, 20, 39]) {
    svg.append(draw('line', {x1: 0, x2: 100, y1: y, y2: y, class: 'axis'}));
  }
  const legend = make('div', {class: 'legend'});
  series.forEach((one, i) => {
    if (one.values.length > 1) {
      svg.append(line(one.values, top, i, points));
    }
    const sample = draw('svg', {viewBox: '0 0 22 8', 'aria-hidden': 'true'});
    sample.append(draw('path', {d: 'M0 4L22 4', class: `s${i}`, fill: 'none', 'stroke-width': 2}));
    const now = one.values.length > 0 ? one.values[one.values.length - 1] : 0;
    legend.append(make('span', {}, sample, `${one.name} `, make('b', {}, text(now))));
  });
  return make('div', {class: 'chart'}, make('h3', {}, title, make('span', {}, `top ${text(top)}`)), svg,
              make('div', {class: 'under'}, make('span', {}, `${hours} ago`), make('span', {}, 'now')), legend);
}

function charts(page) {
  const t = page.timeline;
  const points = Math.max(60, Math.ceil(t.metadataPerSecond.length / 60) * 60);  // grows from five minutes to the hour
  const span = duration(points * t.stepSeconds);
  byId('charts').replaceChildren(
      chart('Data', [{name: 'read', values: t.readBytesPerSecond}, {name: 'written', values: t.writeBytesPerSecond}],
            rate, points, span),
      chart('Metadata operations a second', [{name: 'calls', values: t.metadataPerSecond},
            {name: 'errors', values: t.errorsPerSecond}], perSecond, points, span),
      chart('Latency, 99 of 100 are faster', [{name: 'metadata', values: t.metadataP99Millis},
            {name: 'read', values: t.readP99Millis}, {name: 'write', values: t.writeP99Millis}], millis, points, span),
      chart('Repair', [{name: 'copied', values: t.repairBytesPerSecond}], rate, points, span));
}

// ---- lists

function serverMark(server) {
  if (!server.online) {
    return mark('bad', '✕ gone');
  }
  if (server.volumes.some(volume => volume.state !== 'online')) {
    return mark('bad', '✕ volume failed');
  }
  return server.state === 'in-service' ? mark('good', '✓ in service') : mark('note', `◦ ${server.state}`);
}

function volume(one) {
  const notes = [];
  if (one.state !== 'online') {
    notes.push(one.state);
  }
  if (one.unmendedBlocks > 0) {
    notes.push(`${plural(one.unmendedBlocks, 'bad block', 'bad blocks')}`);
  } else if (one.badBlocks > 0) {
    notes.push(`${plural(one.badBlocks, 'block was', 'blocks were')} mended`);
  }
  if (one.slow) {
    notes.push('slow');
  }
  return make('div', {}, spaceBar(one.usedBytes, one.totalBytes),
              make('small', {}, `${size(one.usedBytes)} of ${size(one.totalBytes)}`, notes.length > 0 ? ', ' : '',
                   notes.length > 0 ? make('b', {}, notes.join(', ')) : null));
}

function servers(page) {
  byId('servers').replaceChildren(...byName(page.servers).map(server => {
    const place = [server.zone, server.rack].filter(part => part).join(' / ');
    return make('div', {class: server.online ? 'card' : 'card off'},
        make('h3', {}, server.name, serverMark(server)),
        make('div', {class: 'soft'}, server.address, place ? ` · ${place}` : ''),
        ...server.volumes.map(volume),
        make('dl', {}, make('dt', {}, 'read'), make('dd', {}, rate(server.load.readBytesPerSecond)),
             make('dt', {}, 'written'), make('dd', {}, rate(server.load.writeBytesPerSecond)),
             make('dt', {}, 'calls'), make('dd', {}, `${perSecond(server.load.operationsPerSecond)}/s`)));
  }));
  if (page.servers.length === 0) {
    byId('servers').replaceChildren(make('p', {class: 'none'}, 'No chunkserver has come yet.'));
  }
}

function masters(page) {
  const newest = Math.max(0, ...page.masters.map(master => master.commitIndex));
  const roles = {leader: ['good', '★ leader'], follower: ['good', '✓ follower'], learner: ['note', '◦ learner'],
                 unreachable: ['bad', '✕ no answer']};
  const heads = ['t name', 'T address', 't role', 'n behind'];
  byId('masters').replaceChildren(table(heads, byName(page.masters).map(master => {
    const [kind, text] = roles[master.role] || ['note', master.role];
    const known = master.role !== 'unreachable';
    return [make('b', {}, master.name), master.address, mark(kind, text),
            known ? plural(Math.max(0, newest - master.appliedIndex), 'entry', 'entries') : '?'];
  }), 'none'));
}

function clients(page) {
  const busy = client => client.load.operationsPerSecond + (client.load.readBytesPerSecond +
                                                            client.load.writeBytesPerSecond) / 4096;
  const sorted = [...page.clients].sort((a, b) => busy(b) - busy(a)).slice(0, 20);
  const heads = ['w mount', 'N calls/s', 'n read', 'n written', 'N open'];
  byId('clients').replaceChildren(table(heads, sorted.map(client => [
    make('span', {}, client.name, client.attached ? null : ' ', client.attached ? null : mark('warn', '! away')),
    perSecond(client.load.operationsPerSecond), rate(client.load.readBytesPerSecond),
    rate(client.load.writeBytesPerSecond), count(client.openFiles)]), 'No client has the cluster mounted.'));
}

function operations(page) {
  const sorted = page.operations.filter(one => one.count > 0).sort((a, b) => b.count - a.count);
  byId('operations').replaceChildren(table(['t kind', 'T at', 'n count', 'n errors', 'N median', 'n 99 %'],
    sorted.map(one => [one.kind, one.at, count(one.count),
                       one.errors > 0 ? mark('bad', `✕ ${count(one.errors)}`) : '0',
                       one.p50Millis === undefined ? '' : millis(one.p50Millis),
                       one.p99Millis > 0 ? millis(one.p99Millis) : '']), 'None yet.'));
}

function slow(page) {
  byId('slow').hidden = page.slow.length === 0;
  byId('slow').querySelector('.body').replaceChildren(make('div', {class: 'table'}, make('ul', {class: 'calls'},
      ...page.slow.slice(0, 20).map(call => make('li', {},
          mark('warn', `! ${millis(call.millis)}`), ' ', make('b', {}, `${call.kind} of inode ${call.inode}`), ' ',
          make('span', {class: 'soft'}, `${call.client}, ${clock(call.time)}`), make('p', {}, call.path))))));
}

function events(page) {
  const signs = {good: '✓ good', note: '◦ note', warning: '! warning', critical: '✕ critical'};
  const kinds = {good: 'good', note: 'note', warning: 'warn', critical: 'bad'};
  const list = make('ul', {}, ...page.events.map(event => make('li', {},
      make('time', {datetime: new Date(event.time * 1000).toISOString()}, clock(event.time)),
      make('span', {}, mark(kinds[event.level] || 'note', signs[event.level] || event.level)),
      make('span', {}, event.text))));
  byId('events').replaceChildren(make('div', {class: 'table'},
      page.events.length > 0 ? list : make('p', {class: 'none'}, 'Nothing has happened since this master leads.')));
}

function about(page) {
  const through = page.servedBy === page.leader ? '' : `, shown by ${page.servedBy}`;
  byId('about').textContent = `${page.cluster} · version ${page.version} · ${page.leader} leads${through} · ` +
                              `as of ${clock(page.time)}`;
}

function show(page) {
  for (const part of [about, verdict, reasons, facts, repair, charts, servers, masters, clients, operations, slow,
                      events]) {
    part(page);
  }
}

async function refresh() {
  try {
    const answer = await fetch('status.json', {cache: 'no-store', signal: AbortSignal.timeout(8000)});
    if (!answer.ok) {
      throw new Error(`status ${answer.status}`);
    }
    last = await answer.json();
    heardAt = Date.now();
    show(last);
  } catch (error) {
    const silent = heardAt === 0 ? Infinity : (Date.now() - heardAt) / 1000;
    if (silent > LATE_SECONDS) {
      const old = last === null ? 'Nothing is known.' : `What is below is ${duration(silent)} old.`;
      showVerdict('lost', 'No answer', `No leading master is heard of through this one. ${old} ` +
                                       'Look at: dfsadmin raft status');
    }
  }
  setTimeout(refresh, document.hidden ? EVERY_MILLIS * 5 : EVERY_MILLIS);
}

refresh();
