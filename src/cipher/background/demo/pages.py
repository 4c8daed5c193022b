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
"""The pages of the demo: the list of documents, and a document.

They have the same frame as the pages of the background workers.
"""
from urllib.parse import urlencode

from zope.browserpage import ViewPageTemplateFile
from zope.component import getUtility
from zope.interface import implementer
from zope.security import checkPermission
from zope.security.checker import ProxyFactory

from cipher.background.browser import ACTION
from cipher.background.browser import IBackgroundView
from cipher.background.browser import JSONView
from cipher.background.browser import Page
from cipher.background.browser import Published
from cipher.background.browser import cleanLine
from cipher.background.browser import cleanText
from cipher.background.browser import getParameter
from cipher.background.browser import getURL
from cipher.background.browser import markRequest
from cipher.background.demo.i18n import _
from cipher.background.demo.interfaces import BODY_LIMIT
from cipher.background.demo.interfaces import DOCUMENTS
from cipher.background.demo.interfaces import EDIT_DOCUMENTS
from cipher.background.demo.interfaces import PUBLISH_DOCUMENTS
from cipher.background.demo.interfaces import PUBLISHED
from cipher.background.interfaces import RUNNING
from cipher.background.interfaces import VIEW_WORKERS
from cipher.background.interfaces import IWorkerRegistry


PAGE_SIZE = 50
RUNS_SHOWN = 10
QUERY_LIMIT = 200


class DemoView(Published):
    """Base of all views of the demo: the registry and URLs."""

    tab = DOCUMENTS

    def __init__(self, context, request):
        super().__init__(context, request)
        markRequest(request)

    @property
    def registry(self):
        """The registry of the site."""
        return ProxyFactory(getUtility(IWorkerRegistry))

    @property
    def site_url(self):
        """URL of the site, without a slash at the end."""
        return self.registry_url.rpartition('/')[0]

    @property
    def documents_url(self):
        """URL of the folder of the documents."""
        return '%s/%s' % (self.site_url, DOCUMENTS)

    @property
    def breadcrumbs(self):
        return [{'title': _('Documents'),
                 'url': self.documents_url + '/index.html'}]

    def may(self, permission):
        """Return whether the user has *permission* on the context."""
        return checkPermission(permission, self.context)


class DemoPage(DemoView, Page):
    """A page of the demo."""


@implementer(IBackgroundView)
class Front:
    """The site itself: leads to the documents."""

    def __init__(self, context, request):
        self.context = context
        self.request = request

    def __call__(self):
        self.request.response.redirect(
            '%s/%s/index.html' % (getURL(self.context, self.request),
                                  DOCUMENTS))
        return ''


class DocumentList(DemoPage):
    """The documents, sorted by name or found by a search, and the news."""

    title = _('Documents')
    template = ViewPageTemplateFile('templates/documents.pt')
    breadcrumbs = ()

    def update(self):
        self.url = self.documents_url + '/index.html'
        self.query = cleanLine(getParameter(self.request, 'q'), QUERY_LIMIT)
        self.next_url = self.first_url = self.found = self.shown = None
        names = self._search() if self.query else self._browse()
        self.rows = [self._describe(self.context[name]) for name in names]
        self.may_edit = self.may(EDIT_DOCUMENTS)
        self.import_url = '%s/start.html?type=import' % self.registry_url
        self.news = [dict(self._link(name, title), at=self._say_time(at))
                     for at, name, title in self.context.news]
        self.report = self._describe_report(self.context.report)

    def _search(self):
        names = list(self.context.search(self.query))
        self.count = len(names)
        if self.count > PAGE_SIZE:
            self.shown = self.presenter.say(
                _('The first ${number} are shown.'), number=PAGE_SIZE)
        self.found = self.presenter.say(
            _('Documents with “${words}”'), words=self.query)
        return names[:PAGE_SIZE]

    def _browse(self):
        start = getParameter(self.request, 'start')
        # One more than the page shows, to know whether there are more.
        names = []
        for name in self.context.keys(*([start] if start else [])):
            names.append(name)
            if len(names) > PAGE_SIZE:
                break
        if len(names) > PAGE_SIZE:
            self.next_url = self._get_page_url(names.pop())
        self.first_url = self._get_page_url(None) if start else None
        self.count = len(self.context)
        return names

    def _get_page_url(self, name):
        return '%s?%s' % (self.url, urlencode({'start': name})) if (
            name) else self.url

    def _say_time(self, at):
        return self.presenter.format.dateTime(at)

    def _link(self, name, title=None):
        """Return the title and URL of a document; it may be gone."""
        document = self.context.get(name)
        if document is None:
            return {'title': cleanLine(title or name), 'url': None}
        return {'title': cleanLine(document.title) or cleanLine(name),
                'url': getURL(document, self.request) + '/index.html'}

    def _describe_report(self, report):
        if report is None:
            return None
        return {
            'made': self._say_time(report['made_at']),
            'since': (self._say_time(report['since'])
                      if report['since'] else ''),
            'counts': ', '.join('%d %s' % (report['counts'][state], state)
                                for state in sorted(report['counts'])),
            'more': report['published'] > len(report['names']),
            'links': [self._link(name) for name in report['names']],
        }

    def _describe(self, document):
        return dict(describe(document, self),
                    url=getURL(document, self.request))


class DocumentRuns(DemoView):
    """Base of the views that show the runs about a document."""

    def collectRuns(self):
        """Return the newest runs about the document, and the active one."""
        page = self.checked.listRuns(
            contexts=(self.context,), limit=RUNS_SHOWN)
        runs = [self.presenter.describeRun(status) for status in page.items]
        at_work = [run for run in runs if not run['is_finished']]
        # The active run is the oldest running one, else the oldest waiting.
        running = [run for run in at_work if run['state'] == RUNNING]
        current = (running or at_work or [None])[-1]
        return {'items': runs, 'current': current}


class DocumentPage(DocumentRuns, DemoPage):
    """The page of a document: its text and the runs about it."""

    template = ViewPageTemplateFile('templates/document.pt')

    @property
    def title(self):
        return cleanLine(self.context.title)

    def update(self):
        self.url = getURL(self.context, self.request)
        self.data = {'document': describe(self.context, self)}
        self.is_published = self.context.wf_state == PUBLISHED
        self.rendered_html = self.context.html if self.is_published else ''
        self.body = cleanText(self.context.body, BODY_LIMIT)
        self.may_edit = self.may(EDIT_DOCUMENTS)
        self.may_publish = self.may(PUBLISH_DOCUMENTS)
        self.may_see_runs = checkPermission(VIEW_WORKERS, self.registry)
        if self.may_see_runs:
            self.data.update(self.collectRuns())
            self.poll_url = '%s/runs.json?%s' % (
                self.url, urlencode({'version': get_version(self.context)}))


class DocumentRunsJSON(DocumentRuns, JSONView):
    """The runs about a document, for the script on its page."""

    def collect(self):
        shown = getParameter(self.request, 'version')
        document = describe(self.context, self)
        document['has_changed'] = shown != get_version(self.context)
        return dict(self.collectRuns(), document=document)


class Publish(DemoPage):
    """Starts the publication of a document.  POST only."""

    title = _('Publish')
    methods = ACTION

    def update(self):
        self.checked.startByPrincipal('publish', self.context)
        redirect(self, getURL(self.context, self.request))


def describe(document, view):
    """Return a document as plain data, without its text."""
    published = document.wf_state == PUBLISHED
    say_time = view.presenter.format.dateTime
    return {
        'name': cleanLine(document.__name__),
        'title': cleanLine(document.title) or cleanLine(document.__name__),
        'wf_state': document.wf_state,
        'badge': 'succeeded' if published else 'pending',
        'modified': say_time(document.modified_at),
        'published': (say_time(document.published_at)
                      if published else ''),
    }


def get_version(document):
    """Return a text that changes if the document on the page changes."""
    return '%s %s' % (document.modified_at, document.published_at)


def redirect(view, url):
    """Redirect the browser to one of our own URLs."""
    view.request.response.redirect(url + '/index.html', status=303)
