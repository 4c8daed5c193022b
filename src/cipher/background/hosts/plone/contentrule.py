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
"""The action "Start a background worker" of a content rule.

The start is part of the transaction of the event: if the person's change is
not committed, neither is the start.
"""
from OFS.SimpleItem import SimpleItem
from plone.app.contentrules.actions import ActionAddForm
from plone.app.contentrules.actions import ActionEditForm
from plone.app.contentrules.browser.formhelper import ContentRuleFormWrapper
from plone.contentrules.rule.interfaces import IExecutable
from plone.contentrules.rule.interfaces import IRuleElementData
from Products.statusmessages.interfaces import IStatusMessage
from zope.component import adapter
from zope.component import hooks
from zope.globalrequest import getRequest
from zope.interface import Interface
from zope.interface import implementer
from zope.interface import provider
from zope.schema import Choice
from zope.schema.interfaces import IVocabularyFactory
from zope.schema.vocabulary import SimpleTerm
from zope.schema.vocabulary import SimpleVocabulary

from cipher.background.browser.text import cleanLine
from cipher.background.browser.traversing import queryRegistry
from cipher.background.declarations.workertype import queryWorkerType
from cipher.background.i18n import _
from cipher.background.interfaces import BackgroundError
from cipher.background.interfaces import InvalidInput
from cipher.background.interfaces import IVerbs
from cipher.background.interfaces import RegistryNotFound
from cipher.background.util.host import getHost
from cipher.background.util.logs import getLogger


log = getLogger(__name__)

#: Name of the action and of the form that adds it.
ELEMENT = 'cipher.background.actions.Start'

NO_REGISTRY = _('This site has no registry of background runs.')


@provider(IVocabularyFactory)
def listTypes(context):
    """Return the vocabulary of the worker types that a rule can start.

    These need no input, and the person may start them.
    """
    site = hooks.getSite()
    registry = queryRegistry(site)
    if registry is None:
        return SimpleVocabulary(())
    is_person = getHost().hasInteraction()
    with getHost().trusted():
        types = registry.getWorkerTypes()
    terms = [
        SimpleTerm(name, name, worker_type.title)
        for name, worker_type in types.items()
        if (not is_person or IVerbs(registry).mayStart(name))
        and _needs_nothing(worker_type, site)]
    return SimpleVocabulary(sorted(terms, key=lambda term: term.title))


def _needs_nothing(worker_type, site):
    try:
        worker_type.cleanInput({}, site)
    except InvalidInput:
        return False
    return True


class IStartAction(Interface):
    """What a person says of the action."""

    worker = Choice(
        title=_('Worker type'),
        description=_('Only those are shown that need no input, and that you '
                      'may start.'),
        vocabulary='cipher.background.startable')


@implementer(IStartAction, IRuleElementData)
class StartAction(SimpleItem):
    """An action that starts a worker about the content of the event."""

    worker = ''
    element = ELEMENT

    @property
    def summary(self):
        """What the list of actions says."""
        worker_type = queryWorkerType(self.worker)
        if worker_type is None:
            return _('Start a worker that is no longer declared: ${name}',
                     mapping={'name': self.worker})
        return _('Start in the background: ${title}',
                 mapping={'title': worker_type.title})


@implementer(IExecutable)
@adapter(Interface, IStartAction, Interface)
class StartExecutor:
    """Carries the action out."""

    def __init__(self, context, element, event):
        self.element = element
        self.event = event

    def __call__(self):
        """Start the worker; return False after a message if that fails."""
        name, content = self.element.worker, self.event.object
        try:
            registry = queryRegistry(hooks.getSite())
            if registry is None:
                raise RegistryNotFound(
                    'site: expected a registry of background runs, got none; '
                    'install the add-on again')
            registry.start(name, content)
        except BackgroundError as error:
            log.error('Content rule: worker %r was not started about %r: %s',
                      name, content, error)
            request = getRequest()
            if request is not None:
                IStatusMessage(request).addStatusMessage(_(
                    'A content rule could not start a background worker: '
                    '${error}', mapping={'error': cleanLine(error)}), 'error')
            return False
        return True


class _StartForm:
    """Says if the site has no registry, because then no type is shown."""

    schema = IStartAction
    form_name = _('Configure the action')
    description = _('The worker gets the content of the event as its context.')

    def updateWidgets(self):
        super().updateWidgets()
        if queryRegistry(hooks.getSite()) is None:
            self.status = NO_REGISTRY


class StartAddForm(_StartForm, ActionAddForm):
    """Adds the action to a rule."""

    label = _('Start a background worker')
    Type = StartAction


class StartAddFormView(ContentRuleFormWrapper):
    """The page with the form."""

    form = StartAddForm


class StartEditForm(_StartForm, ActionEditForm):
    """Changes the action."""

    label = _('Change which background worker is started')


class StartEditFormView(ContentRuleFormWrapper):
    """The page with the form."""

    form = StartEditForm
