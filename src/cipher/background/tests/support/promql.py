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
"""A reader of the expressions of Prometheus that the documentation shows.

It knows what these use, and refuses everything else.
"""
import re


#: Functions of a range, functions of a quantile, and aggregations.
RANGED = {'increase', 'rate'}
QUANTILES = {'histogram_quantile'}
AGGREGATIONS = {'sum', 'max'}

_TOKEN = re.compile(
    r'\s*(?:(?P<duration>\[\d+[smhd]\])|(?P<number>\d+(?:\.\d+)?)|'
    r'(?P<name>[a-z_]\w*)|(?P<text>"[^"]*")|(?P<sign>>=|<=|==|!=|[><=(){},]))')


class Query:
    """The parsed *text*: `metrics` and `labels` are the names that it uses.

    Raise ``ValueError`` if it is not an expression.
    """

    def __init__(self, text):
        self.metrics, self.labels = set(), set()
        self._tokens, position = [], 0
        text = text.strip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if found is None:
                raise ValueError('expected a token at %r' % text[position:])
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()
        self._tokens.append(('end', ''))
        self._expression()
        self._take('end')

    def _take(self, kind, *values):
        found, value = self._tokens.pop(0)
        if found != kind or values and value not in values:
            raise ValueError('expected %s %s, got %r' % (
                kind, ' '.join(values), value))
        return value

    def _expression(self):
        self._term()
        while self._tokens[0][1] in ('>', '<', '>=', '<=', '==', '!='):
            self._take('sign')
            self._term()

    def _term(self):
        kind, value = self._tokens[0]
        if kind == 'number':
            self._take('number')
        elif value in AGGREGATIONS:
            self._take('name')
            if self._tokens[0] == ('name', 'by'):
                self._take('name')
                self._take('sign', '(')
                self._list(')', self._label)
            self._argument()
        elif value in QUANTILES:
            self._take('name')
            self._take('sign', '(')
            if not 0 < float(self._take('number')) < 1:
                raise ValueError('expected a quantile between 0 and 1')
            self._take('sign', ',')
            self._expression()
            self._take('sign', ')')
        elif value in RANGED:
            self._take('name')
            self._take('sign', '(')
            self._selector()
            self._take('duration')
            self._take('sign', ')')
        else:
            self._selector()

    def _argument(self):
        self._take('sign', '(')
        self._expression()
        self._take('sign', ')')

    def _selector(self):
        self.metrics.add(self._take('name'))
        if self._tokens[0] == ('sign', '{'):
            self._take('sign')
            self._list('}', self._match)

    def _match(self):
        self._label()
        self._take('sign', '=', '!=')
        self._take('text')

    def _label(self):
        self.labels.add(self._take('name'))

    def _list(self, end, item):
        item()
        while self._take('sign', ',', end) == ',':
            item()
