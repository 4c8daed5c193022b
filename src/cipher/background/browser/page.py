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
"""The base classes of all pages: methods, headers, tokens and the frame."""
import time
from collections import defaultdict
from collections.abc import Collection
from functools import cached_property
from typing import Any
from typing import NoReturn

from zope.browserpage import ViewPageTemplateFile
from zope.component import queryMultiAdapter
from zope.interface import implementer
from zope.publisher.browser import BrowserPage
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser import csrf
from cipher.background.browser import resources
from cipher.background.browser.addresses import getPath
from cipher.background.browser.addresses import getRelativePath
from cipher.background.browser.addresses import getURL
from cipher.background.browser.descriptions import countByTab
from cipher.background.browser.formatting import Formatter
from cipher.background.browser.formatting import getLanguage
from cipher.background.browser.frame import POLICY
from cipher.background.browser.interfaces import IBackgroundView
from cipher.background.browser.interfaces import IFramedPage
from cipher.background.browser.presentation import Presenter
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import encode
from cipher.background.i18n import _
from cipher.background.i18n import plural
from cipher.background.interfaces import IVerbs
from cipher.background.util.host import getHost


HEADERS = (
    ('X-Content-Type-Options', 'nosniff'),
    ('X-Frame-Options', 'DENY'),
    ('Referrer-Policy', 'same-origin'),
    ('Cache-Control', 'no-store'),
)
#: The choice of a theme, which the script keeps there; none: as the system.
THEME_COOKIE = 'cb_theme'
THEMES = ('light', 'dark')

READ = ('GET', 'HEAD')
FORM = ('GET', 'HEAD', 'POST')
ACTION = ('POST',)


class Refused(Exception):
    """Answer the request with *status* and *message* and nothing else."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


def setHeaders(response, content_type, policy=POLICY):
    """Set the headers of every page and JSON on *response*."""
    response.setHeader('Content-Type', content_type)
    response.setHeader('Content-Security-Policy', policy)
    # Our links begin with a slash and need no base element, which our policy
    # forbids.
    response.setBase('')
    for name, value in HEADERS:
        response.setHeader(name, value)


def getParameters(request, name):
    """Return the list of texts that the form of *request* has for *name*."""
    values = request.form.get(name, [])
    if not isinstance(values, (list, tuple)):
        values = [values]
    return [value.decode('utf-8', 'replace')
            if isinstance(value, bytes) else value
            for value in values if isinstance(value, (bytes, str))]


def getParameter(request: Any, name: str, default: str = '') -> str:
    """Return the text of *name*, or *default* unless there is exactly one."""
    values = getParameters(request, name)
    return values[0] if len(values) == 1 else default


@implementer(IBackgroundView)
class Published(BrowserPage):
    """Base of all views: checks methods and tokens, sets headers, refuses."""

    methods: tuple[str, ...] = READ
    content_type = 'text/html;charset=utf-8'
    policy = POLICY

    def __call__(self) -> bytes | str:
        response = self.request.response
        setHeaders(response, self.content_type, self.policy)
        try:
            self.checkMethod()
            if self.request.method == 'POST':
                self.checkForgery()
            self.update()
            if response.getStatus() in (301, 302, 303):
                return ''
            return self.send(encode(self.render()))
        except Refused as refused:
            # Changes made before the refusal must not be committed.
            getHost().currentTransaction().doom()
            response.setStatus(refused.status)
            return encode(self.renderRefusal(refused))

    def checkMethod(self) -> None:
        """Refuse a method of HTTP that is not in `methods`."""
        if self.request.method not in self.methods:
            self.refuseMethod(self.methods)

    def refuseMethod(self, allowed: Collection[str]) -> NoReturn:
        """Refuse the method of the request; *allowed* is a list of methods."""
        self.request.response.setHeader('Allow', ', '.join(allowed))
        raise Refused(405, _('This address does not support that method.'))

    def checkForgery(self) -> None:
        """Refuse a form that did not come from our page."""
        try:
            csrf.checkOrigin(self.request)
            self.tokens.check(getParameter(self.request, csrf.FIELD))
        except csrf.Forged as forged:
            raise Refused(403, forged.args[0])

    def say(self, message: str, **mapping: Any) -> str:
        """Return *message* in the language of the request."""
        return Formatter(self.request).say(message, **mapping)

    def update(self) -> None:
        """Collect the data of the page, or act."""

    def render(self) -> str:
        """Return the body."""
        raise NotImplementedError

    def send(self, body: bytes) -> bytes:
        """Return what is sent of *body*, which is no refusal."""
        return body

    def renderRefusal(self, refused: Refused) -> str:
        """Return the body of a refusal."""
        raise NotImplementedError

    @property
    def registry(self) -> Any:
        """The registry of the page; use it for its URL only.

        `checked` is the registry to act on.
        """
        return self.context

    @cached_property
    def checked(self) -> IVerbs:
        """The registry with permission checks, an `IVerbs`."""
        return IVerbs(self.registry)

    @property
    def registry_url(self) -> str:
        """Path of the registry, without a slash at the end."""
        return getURL(self.registry, self.request)

    @property
    def tokens(self) -> csrf.RegistryTokens:
        """The object that makes and checks the tokens of the forms."""
        return csrf.RegistryTokens(self.registry, self.request)

    @property
    def presenter(self) -> Presenter:
        """The `presentation.Presenter` of the request."""
        if '_presenter' not in self.__dict__:
            self._presenter = Presenter(self.registry_url, self.request)
        return self._presenter

    @cached_property
    def problems(self) -> Any:
        """The problems that the reader may see, worst first."""
        return self.checked.listProblems() if self.checked.may(
            'listProblems') else ()

    @property
    def can_see_details(self) -> bool:
        """Whether the principal may see input, log and traceback."""
        return self.checked.may('getDetails')


@implementer(IFramedPage)
class Page(Published):
    """A page in the frame.  See `~.interfaces.IFramedPage`."""

    title = ''
    template: Any = None
    tab: str | None = None
    poll_url: str | None = None
    refusal: Refused | None = None
    parts_template = ViewPageTemplateFile('templates/parts.pt')
    refusal_template = ViewPageTemplateFile('templates/refusal.pt')

    def render(self) -> str:
        return self.template()

    def renderRefusal(self, refused: Refused) -> str:
        self.refusal = refused
        self.poll_url = None
        return self.refusal_template()

    @property
    def policy(self) -> str:
        """The Content-Security-Policy that the frame needs."""
        frame = queryMultiAdapter(
            (self.context, self.request), name='background_macros')
        return getattr(frame, 'content_security_policy', POLICY)

    @property
    def language(self) -> str:
        return getLanguage(self.request)

    @property
    def time_zone(self) -> str:
        return cleanLine(Formatter(self.request).zoneName(time.time()), 80)

    @property
    def now(self) -> str:
        """The time of the page, HH:MM."""
        return Formatter(self.request).hour(time.time())

    @property
    def here(self) -> str:
        """The relative URL of this page with its query."""
        query = self.request.get('QUERY_STRING', '')
        return query and '?' + query

    @cached_property
    def can_stop(self) -> bool:
        """Whether the reader may stop runs."""
        return self.checked.may('requestStop')

    @cached_property
    def can_retry(self) -> bool:
        """Whether the reader may retry runs."""
        return self.checked.may('retry')

    @property
    def css_url(self) -> str:
        return resources.getURL(resources.CSS, self.request)

    @property
    def script_url(self) -> str:
        return resources.getURL(resources.SCRIPT, self.request)

    @property
    def icon_url(self) -> str:
        return resources.getURL(resources.ICON, self.request)

    @property
    def alert_icon_url(self) -> str:
        return resources.getURL(resources.ALERT_ICON, self.request)

    @property
    def theme(self) -> str | None:
        theme = self.request.getCookies().get(THEME_COOKIE)
        return theme if theme in THEMES else None

    @property
    def user_title(self) -> str:
        principal = getHost().principalOf(self.request)
        if principal is None:
            return ''
        return cleanLine(principal.title or principal.id, 80)

    @property
    def home(self) -> dict[str, str]:
        return self._describe_site(self.checked.getSite())

    def _describe_site(self, site):
        url = getURL(site, self.request)
        base = getPath(getHost().getRootURL(self.request))
        path = getRelativePath(url, base) or ''
        return {'title': '/' + cleanLine(path, 80), 'url': url or '/'}

    @property
    def tabs(self) -> list[dict[str, Any]]:
        url = self.registry_url
        return [{'title': title, 'url': '%s/%s' % (url, name),
                 'key': 'o' if name == 'index.html' else name[0],
                 'current': name == self.tab,
                 'wrong': self._describe_wrong(self.wrong.get(name, 0))}
                for name, title in (('index.html', _('Overview')),
                                    ('runs.html', _('Runs')),
                                    ('errors.html', _('Errors')),
                                    ('types.html', _('Worker types')),
                                    ('schedules.html', _('Schedules')),
                                    ('processes.html', _('Processes')),
                                    ('journal.html', _('Journal')))]

    def _describe_wrong(self, number):
        return number and {
            'number': self.presenter.format.number(number),
            'text': self.say(plural(
                '${number} problem', '${number} problems', number))}

    @cached_property
    def wrong(self) -> dict[str, int]:
        """The number of problems that each tab leads to, without zeros."""
        return countByTab(self.problems)

    @property
    def breadcrumbs(self) -> list[dict[str, str]]:
        return [{'title': _('Background workers'),
                 'url': self.registry_url + '/index.html'}]

    @property
    def parts(self) -> Any:
        """The macros that several pages share."""
        return self.parts_template.macros

    @property
    def blank(self) -> defaultdict[str, Any]:
        """Empty data for the row that the script copies."""
        return defaultdict(str, text=defaultdict(str))

    @property
    def csrf_token(self) -> str:
        return self.tokens.make()


class RunView(Published):
    """Base of the views of one run."""

    @property
    def registry(self):
        run = removeSecurityProxy(self.context)
        return getHost().protect(run.__parent__)

    @property
    def run_id(self):
        """Id of the run."""
        return removeSecurityProxy(self.context).id

    @property
    def run_url(self):
        """Path of the run, without a slash at the end."""
        return getURL(self.context, self.request)
