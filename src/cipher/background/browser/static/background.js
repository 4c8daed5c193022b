/* Keeps a page live: asks for its JSON and puts the texts where they belong.

   The server says everything, in the language of the reader; nothing is made
   into markup here.  What an element shows is said by its attributes:

   data-text="a.b"         its text
   data-lines=""           the list of the lines of a log
   data-log-end="…"        how far that log was that the server put there
   data-follow=""          the switch: whether that list follows its end
   data-show="a.b"         hidden while that is empty; data-hide the reverse
   data-state-from="a"     its data-state, from a fixed set of words
   data-health-from="a"    its data-health, likewise
   data-progress="a"       value of a progress bar; none: how far is unknown
   data-href="a"           its address, within this site only
   data-time="a"           its datetime
   data-value="a"          its value
   data-hint="a.b"         its title, the whole of what may be cut
   data-list="a"           its rows, made of the template in it, by their id
   data-part="name"        a piece of the page, taken from the page itself

   Further things that need a script: the switch of live updates, the theme,
   shortcuts, the selection of rows, saved searches, and the values of charts.
*/
(function () {
  'use strict';

  var INTERVAL = 2000, QUIET_INTERVAL = 10000, HIDDEN_INTERVAL = 30000;
  var SLOWEST = 60000;
  // Pieces of the page itself: beside JSON, and where there is none.
  var PART_INTERVAL = 60000, LONE_PART_INTERVAL = 10000;
  // Rows stay in place so long after the pointer moved over them.
  var REST = 3000;
  var moved = 0;
  // What changes although nothing happens: the last heartbeat.
  var STEADY = ['beat_at', 'beat'];
  var WORDS = ['pending', 'running', 'succeeded', 'failed', 'stopped',
               'interrupted', 'alive', 'silent', 'ended', 'bad'];
  var LEVELS = ['debug', 'info', 'warning', 'error', 'attempt'];

  function get(data, path) {
    return path.split('.').reduce(function (value, name) {
      return value === null || value === undefined ? value : value[name];
    }, data);
  }

  function word(value) {
    return WORDS.indexOf(value) < 0 ? '' : value;
  }

  // An element belongs to the nearest list around it, or to the page.
  function each(scope, name, action) {
    var selector = '[data-' + name + ']', owner = scope.closest('[data-list]');
    var found = Array.from(scope.querySelectorAll(selector));
    if (scope.matches(selector)) { found.unshift(scope); }
    found.forEach(function (element) {
      var list = name === 'list' ? element.parentElement : element;
      if (list.closest('[data-list]') === owner) {
        action(element, element.getAttribute('data-' + name));
      }
    });
  }

  function setText(element, value) {
    var text = value === null || value === undefined ? '' : String(value);
    // Untouched where nothing changed, so that a selection stays.
    if (element.textContent !== text) { element.textContent = text; }
  }

  function setHref(element, value) {
    var url = new URL(value, window.location.href);
    if (url.origin === window.location.origin) { element.href = url.href; }
  }

  function fill(scope, data) {
    each(scope, 'text', function (element, path) {
      var value = get(data, path);
      if (value !== undefined) { setText(element, value); }
    });
    each(scope, 'hint', function (element, path) {
      var value = get(data, path);
      if (value !== undefined) { element.title = value || ''; }
    });
    each(scope, 'show', function (element, path) {
      element.hidden = !get(data, path);
    });
    each(scope, 'hide', function (element, path) {
      element.hidden = Boolean(get(data, path));
    });
    each(scope, 'state-from', function (element, path) {
      element.dataset.state = word(get(data, path));
    });
    each(scope, 'health-from', function (element, path) {
      element.dataset.health = word(get(data, path));
    });
    each(scope, 'progress', function (element, path) {
      var value = get(data, path);
      if (typeof value === 'number') {
        element.value = value;
      } else {
        element.removeAttribute('value');
      }
    });
    each(scope, 'href', function (element, path) {
      if (get(data, path)) { setHref(element, get(data, path)); }
    });
    each(scope, 'time', function (element, path) {
      if (get(data, path)) { element.dateTime = get(data, path); }
    });
    each(scope, 'value', function (element, path) {
      if (get(data, path)) { element.value = String(get(data, path)); }
    });
    each(scope, 'list', function (element, path) {
      fillList(element, get(data, path) || []);
    });
  }

  // Nothing moves that somebody points at.
  function isHeld(list) {
    return list.matches(':hover') && Date.now() - moved < REST;
  }

  // Focus that was on something that is gone goes to what took its place.
  function refocus(list, index) {
    var rows = Array.from(list.children).filter(function (row) {
      return row.dataset.key;
    });
    var row = rows[Math.min(index, rows.length - 1)];
    var next = row && row.querySelector('a[href]:not([hidden]), button');
    (next || list.closest('.cb')).focus({preventScroll: true});
  }

  function fillList(list, items) {
    var template = list.querySelector('template'), rows = {};
    var active = list.contains(document.activeElement)
      ? document.activeElement : null;
    var index = -1, held = isHeld(list), added = [];
    Array.from(list.children).forEach(function (row) {
      if (row.dataset.key) { rows[row.dataset.key] = row; }
      if (active && row.contains(active)) {
        index = Object.keys(rows).length - 1;
      }
    });
    var place = template;
    items.forEach(function (item) {
      var key = String(item.id), row = rows[key];
      if (row) {
        delete rows[key];
      } else if (held) {
        return;
      } else {
        row = template.content.firstElementChild.cloneNode(true);
        row.dataset.key = key;
        added.push(item);
      }
      if (!held && place.nextElementSibling !== row) { place.after(row); }
      fill(row, item);
      place = row;
    });
    if (!held) {
      Object.keys(rows).forEach(function (key) { rows[key].remove(); });
    }
    if (active && !list.contains(active)) {
      refocus(list, index);
    } else if (active && document.activeElement !== active) {
      active.focus({preventScroll: true});
    }
    announce(list, added);
  }

  // Says what is new, and once; texts that only change stay silent.
  function announce(list, items) {
    var region = list.dataset.announce
      && document.getElementById(list.dataset.announce);
    if (region && items.length) {
      setText(region, items.map(function (item) {
        return item.text;
      }).join(' '));
    }
  }

  // New lines of a log are added behind the others: a selection stays.
  function addLines(list, details) {
    var items = details.lines_added, box = list.closest('.cb-log');
    var template = list.querySelector('template');
    if (!items) {
      items = details.lines || [];
      list.querySelectorAll(':scope > li').forEach(function (line) {
        line.remove();
      });
    }
    items.forEach(function (item) {
      var line = template.content.firstElementChild.cloneNode(true);
      line.dataset.level = LEVELS.indexOf(item.level) < 0 ? '' : item.level;
      setText(line.children[0], item.at);
      setText(line.children[1], item.word);
      line.children[1].title = String(item.logger);
      setText(line.children[2], item.message);
      list.append(line);
    });
    if (items.length && box.querySelector('[data-follow] input').checked) {
      list.scrollTop = list.scrollHeight;
    }
  }

  function essence(data) {
    return JSON.stringify(data, function (name, value) {
      return STEADY.indexOf(name) < 0 ? value : undefined;
    });
  }

  // "2 seconds ago", in the language of the page.
  function sayAgo(at) {
    var seconds = Math.max(0, Math.round((Date.now() - at) / 1000));
    var words = new Intl.RelativeTimeFormat(
      document.documentElement.lang || 'en',
      {numeric: 'always', style: 'short'});
    if (seconds < 100) { return words.format(-seconds, 'second'); }
    if (seconds < 5400) {
      return words.format(-Math.round(seconds / 60), 'minute');
    }
    return words.format(-Math.round(seconds / 3600), 'hour');
  }

  // The switch, and how old is what is shown.
  function makeSwitch(note, onSwitch) {
    var box = note.querySelector('[role=switch]');
    var age = note.querySelector('[data-live-age]');
    var lost = note.querySelector('[data-lost]');
    var at = Date.now();
    note.querySelector('[data-live-off]').hidden = true;
    box.closest('label').hidden = false;
    box.checked = true;
    age.hidden = false;
    function tick() {
      setText(age, sayAgo(at));
      document.querySelectorAll('time[data-ago]').forEach(function (time) {
        if (time.dateTime) { setText(time, sayAgo(Date.parse(time.dateTime))); }
      });
    }
    tick();
    window.setInterval(tick, 1000);
    box.addEventListener('change', function () { onSwitch(box.checked); });
    return {
      isOn: function () { return box.checked; },
      refresh: function () { at = Date.now(); tick(); },
      tell: function (what) {
        setText(lost, what ? lost.getAttribute('data-' + what) : '');
      },
      end: function () { note.hidden = true; }
    };
  }

  // The number of problems, in the title and the icon of the tab.
  var baseTitle = document.title;
  function setAlerts(number) {
    var icon = document.querySelector('link[rel=icon][data-alert]');
    document.title = (number ? '(' + number + ') ' : '') + baseTitle;
    if (icon) {
      icon.dataset.calm = icon.dataset.calm || icon.getAttribute('href');
      icon.href = number ? icon.dataset.alert : icon.dataset.calm;
    }
  }

  // Pieces for which there is no JSON come from the page itself.
  function renewParts(page, parts, seen) {
    return window.fetch(window.location.href, {
      credentials: 'same-origin', headers: {Accept: 'text/html'}
    }).then(function (response) {
      if (!response.ok || response.redirected) { throw new Error('again'); }
      return response.text();
    }).then(function (text) {
      var fresh = new DOMParser().parseFromString(text, 'text/html');
      parts.forEach(function (part) {
        var name = part.dataset.part;
        var other = fresh.querySelector('[data-part="' + name + '"]');
        if (!other || isBusy(part)
            || (seen[name] && seen[name].isEqualNode(other))) {
          return;
        }
        seen[name] = other;
        var open = Array.from(part.querySelectorAll('details[data-keep]'))
          .map(function (element) { return element.open; });
        part.replaceChildren.apply(part, Array.from(other.childNodes).map(
          function (node) { return document.importNode(node, true); }));
        part.querySelectorAll('details[data-keep]').forEach(
          function (element, n) { element.open = Boolean(open[n]); });
      });
    });
  }

  function isBusy(part) {
    return part.contains(document.activeElement)
      || Boolean(part.querySelector('.cb-ask[open]'))
      || (part.matches(':hover') && Date.now() - moved < REST);
  }

  function startParts(page, note, isLone) {
    var parts = Array.from(page.querySelectorAll('[data-part]')), seen = {};
    if (!parts.length) { return; }
    parts = parts.concat(
      Array.from(document.querySelectorAll('nav[data-part]')));
    window.setInterval(function () {
      if (document.hidden || (note && !note.isOn())) { return; }
      renewParts(page, parts, seen).then(function () {
        if (isLone && note) { note.say(''); note.refresh(); }
      }).catch(function () {
        if (isLone && note) { note.say('lost'); }
      });
    }, isLone ? LONE_PART_INTERVAL : PART_INTERVAL);
  }

  function start(page) {
    var place = page.querySelector('[data-live]'), note = null;
    var isLone = !page.dataset.poll;
    if (isLone && !page.querySelector('[data-part]')) { return; }
    var failures = 0, timer = null, hasEnded = false;
    var etag = '', last = '', interval = INTERVAL, least = INTERVAL;
    var log = page.querySelector('[data-log-end]');
    var logEnd = log ? log.dataset.logEnd : '';

    if (place) {
      note = makeSwitch(place, function (isOn) {
        window.clearTimeout(timer);
        timer = null;
        if (isOn && !isLone && !hasEnded) {
          interval = INTERVAL;
          ask();
        }
      });
    }
    startParts(page, note, isLone);
    if (isLone) { return; }
    var problems = page.querySelectorAll('[data-list=problems] > li');
    if (problems.length) { setAlerts(problems.length); }

    function say(what) {
      if (!note) { return; }
      note.say(what);
      if (!what) { note.refresh(); }
    }

    function again() {
      if (note && !note.isOn()) { return; }
      var wait = document.hidden ? HIDDEN_INTERVAL
        : Math.max(interval, least);
      wait = Math.min(SLOWEST, wait * Math.pow(2, failures));
      timer = window.setTimeout(ask, wait);
    }

    // Of a log that the page has already, only the new lines are sent.
    function address() {
      var url = new URL(page.dataset.poll, window.location.href);
      if (log) {
        url.searchParams.set('log_lines', '1');
        url.searchParams.set('log_after', logEnd);
      }
      return url.href;
    }

    // The longer nothing happens, the more seldom the page asks.
    function slowDown(hasChanged) {
      interval = hasChanged ? INTERVAL
        : Math.min(QUIET_INTERVAL, interval * 1.5);
    }

    function ask() {
      var headers = {Accept: 'application/json'};
      timer = null;
      if (etag) { headers['If-None-Match'] = etag; }
      window.fetch(address(), {
        credentials: 'same-origin',
        headers: headers
      }).then(function (response) {
        least = 1000 * Number(response.headers.get('Poll-After')) || 0;
        if (response.status === 304) {
          failures = 0;
          say('');
          slowDown(false);
          again();
          return null;
        }
        if (response.ok) {
          etag = response.headers.get('ETag') || '';
          return response.json();
        }
        if (response.status >= 500) { throw new Error('again'); }
        hasEnded = true;
        say('gone');
        return null;
      }).then(function (data) {
        if (data === null) { return; }
        var now = essence(data);
        slowDown(now !== last);
        last = now;
        logEnd = get(data, 'details.log_end') || '';
        failures = 0;
        say('');
        fill(page, data);
        if (log && data.details) { addLines(log, data.details); }
        if (data.problems) { setAlerts(data.problems.length); }
        if (!data.is_finished) {
          again();
        } else {
          hasEnded = true;
          if (note) { note.end(); }
        }
      }).catch(function () {
        failures += 1;
        say('lost');
        again();
      });
    }

    document.addEventListener('visibilitychange', function () {
      if (!document.hidden && timer !== null) {
        window.clearTimeout(timer);
        slowDown(true);
        ask();
      }
    });
    again();
  }

  // The bar of a list: how many rows are chosen; all, or none of them.
  function startSelection(list) {
    var all = list.querySelector('[data-select-all]');
    var none = list.querySelector('[data-select-none]');
    var number = list.querySelector('[data-selected]');
    function boxes() {
      return Array.from(list.querySelectorAll('tbody .cb-sel'));
    }
    function count() {
      var chosen = boxes().filter(function (box) { return box.checked; });
      if (number) {
        number.hidden = !chosen.length;
        setText(number, chosen.length);
      }
      if (all) {
        all.querySelector('input').checked = chosen.length > 0
          && chosen.length === boxes().length;
      }
    }
    function choose(isChosen) {
      boxes().forEach(function (box) { box.checked = isChosen; });
      count();
    }
    if (all) {
      all.hidden = false;
      all.querySelector('input').addEventListener('change', function (event) {
        choose(event.target.checked);
        if (none && event.target.checked) { none.focus(); }
      });
    }
    if (none) {
      none.hidden = false;
      none.addEventListener('click', function () {
        choose(false);
        (all ? all.querySelector('input') : list).focus();
      });
    }
    list.addEventListener('change', function (event) {
      if (event.target.matches('.cb-sel')) { count(); }
    });
    count();
  }

  // Searches that the reader saved, in this browser, each with a name.
  var MOST_SAVED = 30;
  function startSaved(box) {
    var place = 'cb-saved ' + box.dataset.saved;
    var names = box.dataset.names.split(' ');
    var list = box.querySelector('nav'), asks = box.querySelector('details');
    var input = box.querySelector('input');
    var status = box.querySelector('[role=status]');
    var current = makeQuery(window.location.search);

    // What belongs to a search, and always in the same order.
    function makeQuery(text) {
      var given = new URLSearchParams(text), query = new URLSearchParams();
      names.forEach(function (name) {
        given.getAll(name).filter(Boolean).forEach(function (value) {
          query.append(name, value);
        });
      });
      return query.toString();
    }

    function read() {
      var found = JSON.parse(window.localStorage.getItem(place) || '[]');
      return (Array.isArray(found) ? found : []).filter(function (one) {
        return one && typeof one.name === 'string' && one.name
          && typeof one.query === 'string' && makeQuery(one.query);
      }).slice(0, MOST_SAVED);
    }

    function say(what) { setText(status, status.getAttribute('data-' + what)); }

    function write(saved) {
      try {
        window.localStorage.setItem(place, JSON.stringify(saved));
      } catch (error) {
        say('failed');
        return false;
      }
      show();
      return true;
    }

    function show() {
      var saved = read(), template = list.querySelector('template');
      list.querySelectorAll(':scope > span').forEach(function (one) {
        one.remove();
      });
      saved.forEach(function (one) {
        var row = template.content.firstElementChild.cloneNode(true);
        var link = row.querySelector('a'), query = makeQuery(one.query);
        setText(link, one.name);
        setText(row.querySelector('button span span'), one.name);
        link.href = box.dataset.saved + '?' + query;
        if (query === current) { link.setAttribute('aria-current', 'true'); }
        row.querySelector('button').addEventListener('click', function () {
          remove(one.name);
        });
        list.append(row);
      });
      list.hidden = !saved.length;
      asks.hidden = !current;
      box.hidden = list.hidden && asks.hidden;
    }

    function remove(name) {
      var saved = read(), index = saved.findIndex(function (one) {
        return one.name === name;
      });
      saved.splice(index, index < 0 ? 0 : 1);
      if (!write(saved)) { return; }
      say('removed');
      var buttons = list.querySelectorAll('button');
      (buttons[Math.min(index, buttons.length - 1)]
       || (asks.hidden ? document.getElementById('cb-q')
           : asks.querySelector('summary'))).focus();
    }

    asks.querySelector('form').addEventListener('submit', function (event) {
      var name = input.value.trim(), saved = read();
      event.preventDefault();
      if (!name) {
        input.value = '';
        input.reportValidity();
        return;
      }
      saved = saved.filter(function (one) { return one.name !== name; });
      if (saved.length >= MOST_SAVED) {
        say('failed');
        return;
      }
      saved.push({name: name, query: current});
      saved.sort(function (one, other) {
        return one.name.localeCompare(other.name);
      });
      if (!write(saved)) { return; }
      say('saved');
      input.value = '';
      asks.open = false;
      asks.querySelector('summary').focus();
    });
    try {
      show();
    } catch (error) { /* A browser that keeps nothing offers nothing. */ }
  }

  // The theme is kept in a cookie, so that the server writes it at once.
  function startTheme(set) {
    var root = document.documentElement;
    set.hidden = false;
    set.querySelectorAll('input').forEach(function (box) {
      box.checked = box.value === (root.dataset.theme || 'system');
      box.addEventListener('change', function () {
        var isSystem = box.value === 'system';
        if (isSystem) {
          delete root.dataset.theme;
        } else {
          root.dataset.theme = box.value;
        }
        document.cookie = 'cb_theme=' + box.value + '; path=/; samesite=lax'
          + '; max-age=' + (isSystem ? 0 : 31536000);
      });
    });
  }

  // Without this script nothing follows.
  function follow(label) {
    var list = label.closest('.cb-log').querySelector('[data-lines]');
    label.hidden = false;
    list.scrollTop = list.scrollHeight;
  }

  // Shortcuts.  Each is in the list that "?" opens, where they are turned off.
  function startKeys(keys) {
    var isGoing = false, box = keys.querySelector('[data-keys-on]');
    function isOff() {
      try {
        return window.localStorage.getItem('cb-keys') === 'off';
      } catch (error) {
        return false;
      }
    }
    keys.hidden = false;
    document.querySelectorAll('[data-keys-link]').forEach(function (link) {
      link.hidden = false;
      link.addEventListener('click', function () { keys.open = true; });
    });
    box.checked = !isOff();
    box.addEventListener('change', function () {
      try {
        window.localStorage.setItem('cb-keys', box.checked ? 'on' : 'off');
      } catch (error) { /* It holds for this page then. */ }
    });
    document.addEventListener('keydown', function (event) {
      var search = document.querySelector('.cb [type=search]'), link;
      if (!box.checked || event.ctrlKey || event.metaKey || event.altKey
          || event.target.closest(
            'input:not([type=checkbox], [type=radio]), select, textarea')) {
        return;
      }
      if (isGoing) {
        link = keys.querySelector('[data-go="' + CSS.escape(event.key) + '"]');
        isGoing = false;
      } else if (event.key === 'g') {
        isGoing = true;
        return;
      } else if (event.key === '/') {
        if (search) {
          event.preventDefault();
          search.focus();
          return;
        }
        link = keys.querySelector('[data-go="r"]');
      } else if (event.key === '?') {
        keys.open = true;
        keys.querySelector('summary').focus();
      }
      if (link) {
        event.preventDefault();
        window.location.assign(link.href);
      }
    });
  }

  // The value of a chart's hour, where the pointer is.
  function startReadout(event) {
    var slot = event.target.closest && event.target.closest('svg g');
    var panel = event.target.closest && event.target.closest('.cb-panel');
    var readout = panel && panel.querySelector('.cb-readout');
    var title = slot && slot.querySelector('title');
    if (readout) { setText(readout, title ? title.textContent : ''); }
  }

  document.addEventListener('pointermove', function () {
    moved = Date.now();
  });
  document.addEventListener('pointerover', startReadout);
  // A page of an application has no frame of ours around what is live.
  document.querySelectorAll('.cb, [data-poll]').forEach(start);
  document.querySelectorAll('.cb-list').forEach(startSelection);
  document.querySelectorAll('[data-theme-switch]').forEach(startTheme);
  document.querySelectorAll('[data-saved][data-names]').forEach(startSaved);
  document.querySelectorAll('[data-keys]').forEach(startKeys);

  // Suggest a word for the place behind the last space, not the whole text.
  function suggest(box) {
    var words = Array.from(box.list.options, function (option) {
      return option.value;
    });
    box.addEventListener('input', function () {
      var before = box.value.replace(/\S*$/, '');
      words.forEach(function (word, number) {
        box.list.options[number].value = before + word;
      });
    });
  }

  document.querySelectorAll('#cb-q[list]').forEach(suggest);
}());
