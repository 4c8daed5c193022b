/* Keeps a page live: asks for its JSON and puts the texts where they belong.

   The server says everything, in the language of the reader; nothing is made
   into markup here.  What an element shows is said by its attributes:

   data-text="a.b"         its text
   data-append="a.b"       what is added to its text
   data-log-end="…"        how far the log was that the server put there
   data-show="a.b"         hidden while that is empty; data-hide the reverse
   data-state-from="a"     its data-state, from a fixed set of words
   data-health-from="a"    its data-health, likewise
   data-progress="a"       value of a progress bar; none: how far is unknown
   data-href="a"           its address, within this site only
   data-time="a"           its datetime
   data-value="a"          its value
   data-list="a"           its rows, made of the template in it, by their id
*/
(function () {
  'use strict';

  var INTERVAL = 2000, QUIET_INTERVAL = 10000, HIDDEN_INTERVAL = 30000;
  var SLOWEST = 60000;
  // What changes although nothing happens: the last heartbeat.
  var STEADY = ['beat_at', 'beat'];
  var WORDS = ['pending', 'running', 'succeeded', 'failed', 'stopped',
               'interrupted', 'alive', 'silent', 'ended'];

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
    each(scope, 'append', function (element, path) {
      var value = get(data, path);
      if (value) { element.append(String(value)); }
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

  function fillList(list, items) {
    var template = list.querySelector('template'), rows = {};
    Array.from(list.children).forEach(function (row) {
      if (row.dataset.key) { rows[row.dataset.key] = row; }
    });
    var place = template;
    items.forEach(function (item) {
      var key = String(item.id), row = rows[key];
      if (row) {
        delete rows[key];
      } else {
        row = template.content.firstElementChild.cloneNode(true);
        row.dataset.key = key;
      }
      if (place.nextElementSibling !== row) { place.after(row); }
      fill(row, item);
      place = row;
    });
    Object.keys(rows).forEach(function (key) { rows[key].remove(); });
  }

  function essence(data) {
    return JSON.stringify(data, function (name, value) {
      return STEADY.indexOf(name) < 0 ? value : undefined;
    });
  }

  function start(page) {
    var note = page.querySelector('[data-live]'), failures = 0, timer = null;
    var etag = '', last = '', interval = INTERVAL, least = INTERVAL;
    var log = page.querySelector('[data-log-end]');
    var logEnd = log ? log.dataset.logEnd : '';

    function tell(what) {
      if (!note) { return; }
      note.hidden = !what;
      setText(note, what ? note.getAttribute('data-' + what) : '');
    }

    function again() {
      var wait = document.hidden ? HIDDEN_INTERVAL
        : Math.max(interval, least);
      wait = Math.min(SLOWEST, wait * Math.pow(2, failures));
      timer = window.setTimeout(ask, wait);
    }

    // Of a log that the page has already, only the new lines are sent.
    function address() {
      var url = new URL(page.dataset.poll, window.location.href);
      if (logEnd) { url.searchParams.set('log_after', logEnd); }
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
          tell('');
          slowDown(false);
          again();
          return null;
        }
        if (response.ok) {
          etag = response.headers.get('ETag') || '';
          return response.json();
        }
        if (response.status >= 500) { throw new Error('again'); }
        tell('gone');
        return null;
      }).then(function (data) {
        if (data === null) { return; }
        var now = essence(data);
        slowDown(now !== last);
        last = now;
        logEnd = get(data, 'details.log_end') || '';
        failures = 0;
        tell('');
        fill(page, data);
        if (!data.is_finished) { again(); }
      }).catch(function () {
        failures += 1;
        tell('lost');
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

  // One box that ticks all of its table; of no use without this script.
  function selectAll(box) {
    box.hidden = false;
    box.addEventListener('change', function () {
      box.closest('table').querySelectorAll('tbody [type="checkbox"]')
        .forEach(function (other) { other.checked = box.checked; });
    });
  }

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
  document.querySelectorAll('[data-poll]').forEach(start);
  document.querySelectorAll('[data-select-all]').forEach(selectAll);
}());
