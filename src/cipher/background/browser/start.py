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
"""The form that starts a worker, made from the schema of its type.

z3c.form acts on any request, even on a GET.  Here its buttons act only in a
POST with a valid token.  A GET shows the form and reads only the worker type
and the path of the context from the request.
"""
import logging
import re
import time
import traceback
from collections.abc import Mapping
from urllib.parse import quote
from urllib.parse import urlencode

from transaction.interfaces import TransientError
from z3c.form import button
from z3c.form import field
from z3c.form.browser.checkbox import CheckBoxFieldWidget
from z3c.form.form import Form
from z3c.form.interfaces import NOT_CHANGED
from z3c.form.interfaces import IDataConverter
from z3c.form.interfaces import IMultiWidget
from z3c.form.interfaces import ISelectWidget
from z3c.form.interfaces import ISequenceWidget
from zope.browserpage import ViewPageTemplateFile
from zope.component import getAdapter
from zope.publisher.browser import FileUpload
from zope.schema.interfaces import IBool
from zope.schema.interfaces import IChoice
from zope.schema.interfaces import ICollection
from zope.schema.interfaces import IDict
from zope.schema.interfaces import IList
from zope.schema.interfaces import IObject
from zope.schema.interfaces import ITuple
from zope.security.interfaces import Unauthorized
from zope.security.proxy import removeSecurityProxy

from cipher.background.browser.interfaces import IStartContext
from cipher.background.browser.libmessages import sayForeign
from cipher.background.browser.page import ACTION
from cipher.background.browser.page import FORM
from cipher.background.browser.page import READ
from cipher.background.browser.page import Page
from cipher.background.browser.page import Refused
from cipher.background.browser.page import getParameter
from cipher.background.browser.paths import NoSuchObject
from cipher.background.browser.paths import findObject
from cipher.background.browser.runpage import GONE
from cipher.background.browser.text import cleanLine
from cipher.background.browser.text import cleanText
from cipher.background.browser.types import mayStart
from cipher.background.browser.types import noteStart
from cipher.background.browser.types import refuseFlood
from cipher.background.i18n import _
from cipher.background.interfaces import BackgroundError
from cipher.background.interfaces import RunNotFound
from cipher.background.interfaces import TooManyWaiting
from cipher.background.interfaces import UnknownWorkerType
from cipher.background.util.host import getHost


log = logging.getLogger(__name__)

CONTEXT_PREFIX = 'context'
#: Name of the field for the context, and of the parameter that fills it.
CONTEXT_FIELD = 'context.path'
WIDGETS = 'form.widgets.'
CONTEXT_WIDGET = WIDGETS + CONTEXT_FIELD


class StartPage(Page, Form):
    """The page with the form of a worker type.

    With the id of a run in ``like`` a GET fills the form with the input of
    that run.
    """

    template = ViewPageTemplateFile('templates/start.pt')
    tab = 'types.html'
    methods = FORM
    problem = None
    unshown = ()
    worker_type = None
    ignoreContext = True
    ignoreReadonly = True
    status = ''
    context_path = ''
    left_empty = ()   # fields of the run in `like` whose values are not shown

    def update(self):
        self.worker_type = self._get_type()
        self._check_permission()
        self.ignoreRequest = self.request.method in READ
        self._check_values()
        self.fields = self._get_fields()
        try:
            self.updateWidgets()
        except TransientError:
            raise
        except Exception:
            # The form itself works, as _can_show tried; so the request is bad.
            raise Refused(400, _('The form is not valid.'))
        if self.ignoreRequest:
            self.widgets[CONTEXT_FIELD].value = self.context_path
            self._copy_input()
        self.updateActions()
        if self.request.method not in READ:
            self.actions.execute()
        elif self.actions.executedActions:
            self.refuseMethod(ACTION)

    @property
    def like(self):
        """Id of the run whose input fills the form, or ''."""
        return cleanLine(getParameter(self.request, 'like'), 100)

    def _copy_input(self):
        """Fill the form with the input of the run in `like`, if any."""
        if not self.like:
            return
        try:
            status = self.checked.getStatus(self.like)
            details = self.checked.getDetails(self.like)
        except RunNotFound:
            raise Refused(404, GONE)
        if status.type != self.worker_type.name:
            raise Refused(404, GONE)
        self.left_empty = [
            widget.field for name, value in details.input.items()
            for widget in [self.widgets.get(name)]
            if widget is not None and value is not None
            and (name in details.masked or not _fill(widget, value))]

    @property
    def copy_note(self):
        """Sentence on a form with the input of a run, or ''."""
        if not self.like or not self.ignoreRequest:
            return ''
        note = self.say(
            _('The form has the input of run ${id}.'), id=self.like)
        if self.left_empty:
            note += ' ' + self.say(
                _('Fill in again, as their values are not shown or no longer '
                  'fit: ${fields}.'), fields=self._say_titles(self.left_empty))
        return note

    @property
    def cancel_url(self):
        """URL of the page that the form was reached from."""
        return '%s/%s' % (self.registry_url, self.like and (
            quote(self.like, errors='replace') + '/index.html')
            or 'types.html')

    def render(self):
        return self.template()

    def _check_permission(self):
        # The permission may exist on some objects only.  The path can be
        # changed in the form, so the registry checks it again at the start.
        self.context_path = self._read_path(CONTEXT_FIELD)
        if not any(mayStart(self.checked, self.worker_type.name, path)
                   for path in (None, self.context_path,
                                self._read_path(CONTEXT_WIDGET))):
            raise Unauthorized(
                self.registry, 'start', self.worker_type.permission)

    def _read_path(self, name):
        return cleanLine(getParameter(self.request, name), 1000)

    def _check_values(self):
        # The publisher converts values as the names of fields ask for, with
        # ":list" for example.  Widgets fail at values of other classes.
        for name, value in self.request.form.items():
            is_list = isinstance(value, (list, tuple))
            if not all(isinstance(one, (str, FileUpload))
                       for one in (value if is_list else [value])) or (
                           is_list and not self._takes_several(name)):
                raise Refused(400, _('The form is not valid.'))

    def _takes_several(self, name):
        """Return whether the widget *name* may expect a list."""
        schema = self.worker_type.schema
        shown = schema.get(name.removeprefix(WIDGETS)) if schema else None
        if shown is None:
            return name != CONTEXT_WIDGET
        return any(interface.providedBy(shown) for interface in (
            ICollection, IDict, IChoice, IBool))

    def _get_type(self):
        name = getParameter(self.request, 'type')
        worker_type = self.checked.queryWorkerType(name)
        if worker_type is None:
            raise Refused(404, _('There is no such worker type.'))
        return worker_type

    def _get_fields(self):
        fields = field.Fields(IStartContext, prefix=CONTEXT_PREFIX)
        if self.worker_type.schema is None:
            return fields
        inputs = field.Fields(self.worker_type.schema, omitReadOnly=True)
        self.unshown = [inputs[name].field for name in inputs
                        if _is_left_out(inputs[name].field)]
        inputs = inputs.omit(*[one.__name__ for one in self.unshown])
        for name in inputs:
            # z3c.form's own widget for these needs a script within the page,
            # which our policy forbids.
            if _is_choice_of_several(inputs[name].field):
                inputs[name].widgetFactory = CheckBoxFieldWidget
        if not self._can_show(inputs):
            failing = [name for name in inputs
                       if not self._can_show(inputs.select(name))]
            self.unshown += [inputs[name].field for name in failing]
            inputs = inputs.omit(*failing)
        return inputs + fields

    def _can_show(self, fields):
        """Return whether the form can show *fields*.

        Some kinds of fields have no widget, and a vocabulary may fail.
        """
        is_ignored, self.ignoreRequest = self.ignoreRequest, True
        self.fields = fields
        try:
            self.updateWidgets()
            for widget in self.widgets.values():
                widget.render()
        except TransientError:
            raise
        except Exception:
            log.info('Start of %r: the form cannot show %s',
                     self.worker_type.name, ', '.join(fields), exc_info=True)
            return False
        finally:
            self.ignoreRequest = is_ignored
        return True

    @property
    def unshown_note(self):
        """Sentence on the fields that the form cannot show, or ''."""
        if not self.unshown:
            return ''
        message = (_('The form leaves out these fields; they get their '
                     'default: ${fields}.') if self.can_start else
                   _('Only code can start this worker: the form cannot '
                     'show ${fields}.'))
        return self.say(message, fields=self._say_titles(self.unshown))

    def _say_titles(self, fields):
        return ', '.join(cleanLine(self.say(one.title)) or one.__name__
                         for one in fields)

    @property
    def can_start(self):
        """Whether the form shows all required fields."""
        return not any(_is_needed(one, self.getContent())
                       for one in self.unshown)

    def getContent(self):
        """Return the site: z3c.form binds vocabularies to it."""
        return self.checked.getSite()

    @property
    def action(self):
        """URL that the form is sent to."""
        return '%s/start.html?%s' % (self.registry_url, urlencode(
            {'type': self.worker_type.name}, errors='replace'))

    @button.buttonAndHandler(_('Start'), name='start')
    def handleStart(self, action):
        """Start the worker and go to its run."""
        try:
            data, errors = self.extractData()
        except TransientError:
            raise
        except ValueError as error:
            # z3c.form expects only Invalid from an invariant.
            self.problem = cleanLine(self._hide(str(error)))
            return
        except Exception as error:
            # A constraint of the application fails at some values.
            log.info('Start of %r: the form could not be read\n%s',
                     self.worker_type.name, self._hide(''.join(
                         traceback.format_exception(error)).rstrip('\n')))
            self.problem = _('The form is not valid.')
            return
        if errors:
            self.problem = _('Correct the marked fields.')
            return
        try:
            run = self._start(data)
        except NoSuchObject:
            self.problem = _('The context path does not lead to an object '
                             'that you may see.')
        except UnknownWorkerType:
            raise Refused(404, _('There is no such worker type.'))
        except TooManyWaiting as error:
            refuseFlood(error)
        except BackgroundError as error:
            self.problem = cleanLine(error)
        else:
            noteStart(self.worker_type.name, run.id)
            self.request.response.redirect('%s/%s/index.html' % (
                self.registry_url, run.id), status=303)
            return
        getHost().currentTransaction().doom()

    def _start(self, data):
        context = findObject(
            self.checked.getSite(), data.pop(CONTEXT_FIELD, None))
        # Fields without a value in the form get their default.
        given = {name: value for name, value in data.items()
                 if value is not NOT_CHANGED}
        return self.checked.startOnce(
            self._shown_at(), self.worker_type.name, context, given)

    def _shown_at(self):
        """Return the time at which the form was shown, as the form says."""
        text = getParameter(self.request, 'shown_at')
        if re.fullmatch('[0-9]{1,12}[.][0-9]{1,9}', text, re.ASCII):
            return float(text)
        return time.time()

    @property
    def shown_at(self):
        """The present time, for a hidden field."""
        return '%.6f' % time.time()

    @property
    def title(self):
        if self.worker_type is None:
            return _('Start')
        return _('Start: ${title}', mapping={
            'title': self.presenter.sayTitle(self.worker_type.title)})

    @property
    def type_name(self):
        """Name of the worker type, for a hidden field."""
        return self.worker_type.name

    @property
    def description(self):
        """The description of the worker type."""
        return cleanText(self.say(self.worker_type.description))

    @property
    def shown_widgets(self):
        """The widgets with the data that the template needs around them."""
        return [self._describe(widget) for widget in self.widgets.values()]

    def _describe(self, widget):
        # A widget of several controls is a group: its label has no target.
        is_group = (ISequenceWidget.providedBy(widget)
                    and not ISelectWidget.providedBy(widget)
                    or IMultiWidget.providedBy(widget))
        label_id = widget.id + '-label'
        hint = cleanText(self.say(widget.field.description or ''))
        # An error of a part of the widget is shown at that part.
        error = (widget.error and not self._say_inner_errors(widget)
                 and self._say_error(widget.error))
        hint_id = widget.id + '-hint' if hint else None
        error_id = widget.id + '-error' if error else None
        described_by = ' '.join(filter(None, (error_id, hint_id))) or None
        return {
            'widget': RenderedWidget(
                widget, None if is_group else described_by, error),
            'described_by': described_by if is_group else None,
            'hint_id': hint_id,
            'error_id': error_id,
            'label': widget.label,
            'label_id': label_id,
            'label_for': None if is_group else widget.id,
            'role': 'group' if is_group else None,
            'labelled_by': label_id if is_group else None,
            'hint': hint,
            'required': widget.required,
            'hidden': widget.mode == 'hidden',
            'error': error,
            # Where the summary of the errors leads to.
            'target': '#' + (label_id if is_group else widget.id),
            'is_faulty': bool(widget.error),
        }

    def _say_inner_errors(self, widget):
        """Translate errors of the widgets in *widget*; return if any exist."""
        parts = removeSecurityProxy(getattr(widget, 'widgets', None)) or ()
        if isinstance(parts, Mapping):
            parts = list(parts.values())
        found = False
        for part in [*parts, *getattr(widget, 'key_widgets', ())]:
            error = part and removeSecurityProxy(part.error)
            if error and not self._say_inner_errors(part):
                error.message = self._say_error(error)
            found = found or bool(error)
        return found

    def _say_error(self, error):
        # The security proxy allows only the markup of the error.
        error = removeSecurityProxy(error)
        inner = getattr(error.context, 'errors', None)
        if inner and not hasattr(error, 'message'):
            return ' '.join(self._say_error(one) for one in inner)
        message = getattr(error, 'message', None)
        # The message of an invariant or constraint may quote a secret value.
        return cleanLine(self._hide(sayForeign(
            self.say, message or _('This is not valid.'))))

    def _hide(self, text):
        """Return *text* without the secrets that were sent."""
        return self.worker_type.hide(text, self._get_posted())

    def _get_posted(self):
        """Return {name of a field: list of the values sent for it}."""
        posted = {}
        for key, value in self.request.form.items():
            name = key.removeprefix(self.prefix + 'widgets.').partition('.')[0]
            posted.setdefault(name, []).append(value)
        return posted

    @property
    def form_errors(self):
        """The errors that belong to no single field."""
        return [self._say_error(error)
                for error in self.widgets.errors
                if removeSecurityProxy(error).widget is None]

    @property
    def breadcrumbs(self):
        return super().breadcrumbs + [
            {'title': _('Worker types'),
             'url': self.registry_url + '/types.html'}]


class RenderedWidget:
    """A widget whose control has ARIA attributes for its hint and error.

    The widgets of z3c.form do not support these.
    """

    def __init__(self, widget, described_by, error):
        self.widget = widget
        self.described_by = described_by
        self.error = error

    def render(self):
        """Return the markup of the widget."""
        markup = self.widget.render()
        if not self.described_by:
            return markup
        begin = 'id="%s"' % self.widget.id
        attributes = '%s aria-describedby="%s"%s' % (
            begin, self.described_by,
            ' aria-invalid="true"' if self.error else '')
        # The first match is the control; parts of it come later.
        return markup.replace(begin, attributes, 1)


def _fill(widget, value):
    """Let *widget* show *value*; return False if it cannot show all of it."""
    before = widget.value
    try:
        widget.value = getAdapter(
            widget, IDataConverter).toWidgetValue(value)
        widget.render()
    except TransientError:
        raise
    except Exception:
        # The schema may have changed since the run, or a vocabulary.
        widget.value = before
        return False
    # A choice that is not offered any more is left out without an error.
    return not (isinstance(value, (list, tuple, set, frozenset))
                and isinstance(widget.value, (list, tuple))
                and len(widget.value) < len(value))


def _is_needed(schema_field, site):
    """Return whether a run needs a value for the field."""
    try:
        schema_field = schema_field.bind(site)
        return schema_field.required and schema_field.default is None
    except Exception:
        return True   # its default or its vocabulary fails


def _is_left_out(schema_field):
    """Return whether the form leaves the field out.

    These are optional fields with an Object in them.  Input is plain data, so
    an Object never has a value.
    """
    inner = schema_field
    while inner is not None and not IObject.providedBy(inner):
        inner = getattr(inner, 'value_type', None)
    return inner is not None and not schema_field.required


def _is_choice_of_several(schema_field):
    return ((IList.providedBy(schema_field) or ITuple.providedBy(schema_field))
            and IChoice.providedBy(schema_field.value_type))
