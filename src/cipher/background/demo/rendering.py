##############################################################################
#
# Copyright (c) Zope Foundation and Contributors.
# All Rights Reserved.
#
# This software is subject to the provisions of the Zope Public License,
# Version 2.1 (ZPL).  A copy of the ZPL should accompany this distribution.
# THIS SOFTWARE IS PROVIDED "AS IS" AND ANY AND ALL EXPRESS OR IMPLIED
# WARRANTIES ARE DISCLAIMED, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
# WARRANTIES OF TITLE, MERCHANTABILITY, AGAINST INFRINGEMENT, AND FITNESS
# FOR A PARTICULAR PURPOSE.
#
##############################################################################
"""Render reStructuredText as safe HTML, section by section."""
from functools import partial
from html import escape
from html import unescape
from html.parser import HTMLParser
from io import StringIO
from urllib.parse import urlsplit

from docutils import nodes
from docutils.core import publish_parts
from docutils.writers import html5_polyglot


#: docutils reads neither other files nor configuration files, passes nothing
#: through raw, and raises an exception at an error.
SETTINGS = {
    '_disable_config': True,
    'docinfo_xform': False,
    'embed_stylesheet': False,
    'enable_exit_status': False,
    'exit_status_level': 6,
    'file_insertion_enabled': False,
    'halt_level': 6,
    'initial_header_level': 2,
    'input_encoding': 'unicode',
    'math_output': 'LaTeX',
    'output_encoding': 'unicode',
    'raw_enabled': False,
    'report_level': 2,
    'stylesheet_path': '',
    'syntax_highlight': 'none',
    'traceback': True,
}

#: {element: attributes that stay}.  Other tags are dropped; their text stays.
ALLOWED = {
    'a': {'href'},
    'ol': {'start', 'type'},
    'td': {'colspan', 'rowspan'},
    'th': {'colspan', 'rowspan'},
}
ALLOWED.update((name, set()) for name in (
    'abbr', 'aside', 'b', 'blockquote', 'br', 'cite', 'code', 'dd', 'del',
    'div', 'dl', 'dt', 'em', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'i', 'ins',
    'kbd', 'li', 'p', 'pre', 'q', 's', 'samp', 'section', 'small', 'span',
    'strong', 'sub', 'sup', 'table', 'tbody', 'tfoot', 'thead', 'tr', 'ul',
    'var'))
EVERYWHERE = {'class', 'id'}
#: Classes that stay.  A document must not use the page's own classes.
CLASSES = frozenset((
    'admonition', 'admonition-title', 'attribution', 'brackets', 'code',
    'docutils', 'field-list', 'footnote', 'footnote-list', 'head', 'label',
    'line', 'line-block', 'literal', 'literal-block', 'option-list',
    'rubric', 'sidebar', 'topic', 'topic-title'))
VOID = {'br', 'hr'}
#: Elements whose content is not text.
SILENT = {'script', 'style', 'template', 'object', 'iframe'}
SCHEMES = {'http', 'https', 'mailto'}

#: Prefix of ids, so that a document cannot use an id of the page.
ID_PREFIX = 'doc-'


def render(source, tick=None, warn=None, title=''):
    """Return the HTML of the reStructuredText in *source*.

    Parts that cannot be parsed are left out; *warn* is called with a message
    for each.  A heading at the top is left out if it repeats *title*.  *tick*
    is called as ``tick(done, total, title)`` after each section; its errors
    end the rendering.
    """
    writer = html5_polyglot.Writer()
    writer.translator_class = partial(_Translator, tick or _ignore)
    messages = StringIO()
    parts = publish_parts(
        source, writer=writer, settings_overrides=dict(
            SETTINGS, id_prefix=ID_PREFIX, warning_stream=messages))
    for message in filter(None, messages.getvalue().split('<string>:')):
        if warn is not None:
            warn('line ' + ' '.join(message.split()))
    headings = ''.join(
        '<h2>%s</h2>\n' % heading
        for heading in (parts['title'], parts['subtitle'])
        if heading and unescape(heading) != title)
    return sanitize(headings + parts['fragment'])


def sanitize(html):
    """Return *html* with only the elements and attributes of `ALLOWED`."""
    sanitizer = _Sanitizer()
    sanitizer.feed(html)
    sanitizer.close()
    return sanitizer.finish()


def _ignore(done, total, title):
    """A *tick* that does nothing."""


class _Translator(html5_polyglot.HTMLTranslator):
    """Reports each section, and shows the alternative text of an image.

    Images are left out: a document could make docutils read them from files.
    """

    def __init__(self, tick, document):
        super().__init__(document)
        self._tick = tick
        self._total = sum('system-messages' not in node['classes']
                          for node in document.findall(nodes.section))
        self._done = 0

    def depart_document(self, node):
        super().depart_document(node)
        if not self._total:
            self._tick(1, 1, node.get('title', ''))

    def visit_section(self, node):
        if 'system-messages' in node['classes']:
            raise nodes.SkipNode
        super().visit_section(node)

    def depart_section(self, node):
        super().depart_section(node)
        self._done += 1
        title = node.next_node(nodes.title)
        self._tick(self._done, self._total, title.astext() if title else '')

    def visit_image(self, node):
        self.body.append('<em>%s</em>' % self.encode(
            node.get('alt') or node.get('uri', '')))
        raise nodes.SkipNode

    # Messages go to the log of the run, not into the document.

    def visit_system_message(self, node):
        raise nodes.SkipNode

    def visit_problematic(self, node):
        """Show only the text."""

    def depart_problematic(self, node):
        """Close nothing."""


class _Sanitizer(HTMLParser):

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self._output = []
        self._open = []
        self._silent = 0

    def handle_starttag(self, tag, attrs):
        if tag in SILENT:
            self._silent += 1
        if self._silent or tag not in ALLOWED:
            return
        kept = ''.join(
            ' %s="%s"' % (name, escape(value))
            for name, value in clean_attributes(tag, attrs) if value)
        self._output.append('<%s%s>' % (tag, kept))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag in SILENT:
            self._silent = max(self._silent - 1, 0)
        elif not self._silent and tag in self._open:
            # Close the elements left open in it, to keep the page's frame.
            while self._close() != tag:
                pass

    def handle_data(self, data):
        if not self._silent:
            self._output.append(escape(data))

    def finish(self):
        while self._open:
            self._close()
        return ''.join(self._output)

    def _close(self):
        tag = self._open.pop()
        self._output.append('</%s>' % tag)
        return tag


def clean_attributes(tag, attributes):
    """Yield the allowed ones of *attributes*; the value '' stands for none."""
    for name, value in attributes:
        value = value or ''
        if name not in ALLOWED[tag] | EVERYWHERE:
            continue
        if name == 'href' and not is_safe_link(value):
            continue
        if name == 'id' and not value.startswith(ID_PREFIX):
            continue
        if name == 'class':
            value = ' '.join(
                each for each in value.split() if each in CLASSES)
        yield name, value


def is_safe_link(url):
    """Return whether a link only leads elsewhere and runs no script."""
    # Browsers ignore blanks and control characters in a scheme, so a link with
    # such a character is refused.
    if not url or any(ord(char) <= 32 or char == '\\' for char in url):
        return False
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        return False
    return scheme in SCHEMES or (not scheme and ':' not in url.split('/')[0])
